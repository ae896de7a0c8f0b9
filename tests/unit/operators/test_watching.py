"""How kopf is set up. What it does with that is tested with a real API server."""

import kopf

from controller.api.v1alpha1 import KINDS
from controller.kube.client import Access
from controller.operators import watching
from controller.operators.process import WATCHED


def test_kopf_is_told_to_write_nothing() -> None:
    settings = watching.settings()
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.watching.chunk_size == 500
    assert settings.watching.inactivity_timeout <= 75, "a silent stream must end before the server's cache does"
    assert settings.process.ultimate_exiting_timeout is None


def test_only_events_are_handled() -> None:
    registry = watching.registry(WATCHED, lambda _kind, _change, _wire: None, None)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()
    handlers = registry._watching.get_all_handlers()
    assert {handler.id for handler in handlers} == {kind.PLURAL for kind in WATCHED}
    assert {kind.KIND for kind in KINDS} - {kind.KIND for kind in WATCHED} == {"CatalogLedger", "DiagnosticReport"}


def test_credentials_are_handed_over() -> None:
    access = Access("https://h:1", "/ca", "/cert", "/key", "abc", verified=True)
    info = watching.connection_info(access)
    assert isinstance(info, kopf.ConnectionInfo)
    assert (info.server, info.ca_path, info.certificate_path, info.private_key_path, info.token, info.insecure) == (
        "https://h:1",
        "/ca",
        "/cert",
        "/key",
        "abc",
        False,
    )
