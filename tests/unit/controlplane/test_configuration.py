"""What the programs are told, and what is remembered of a start."""

import base64
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hack.controlplane import configuration
from hack.controlplane.certificates import KeyPair
from hack.controlplane.configuration import Layout, Settings

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
SETTINGS = Settings(
    port=40123,
    controllers=True,
    namespace="n",
    service_account="a",
    binaries="/somewhere",
    outlives=True,
    renew_at=NOW.timestamp() + 60,
)
UNIX_PATH_BYTES_MAX = 107  # unix(7)


def test_a_kubeconfig_carries_all_it_needs() -> None:
    content = configuration.kubeconfig(
        url="https://127.0.0.1:1", authority=b"ca", client=KeyPair(b"cert", b"key"), user="u", namespace="n"
    )
    document = yaml.safe_load(content)
    context = document["contexts"][0]
    assert document["current-context"] == context["name"]
    assert context["context"] == {"cluster": "local", "user": "u", "namespace": "n"}
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]) == b"ca"
    assert document["users"][0]["name"] == "u"
    credentials = document["users"][0]["user"]
    assert base64.b64decode(credentials["client-certificate-data"]) == b"cert"
    assert base64.b64decode(credentials["client-key-data"]) == b"key"


def test_a_long_directory_makes_no_long_socket_path() -> None:
    layout = Layout(Path("/" + "long/" * 100))
    arguments = configuration.etcd(Path("etcd"), layout, durable=True)
    sockets = [argument.partition("unix://")[2] for argument in arguments if argument.startswith("--listen-")]
    assert len(sockets) == 2
    assert all(len(socket.encode()) <= UNIX_PATH_BYTES_MAX for socket in sockets)


@pytest.mark.parametrize("durable", [True, False])
def test_only_data_that_is_thrown_away_is_not_synced(*, durable: bool) -> None:
    arguments = configuration.etcd(Path("etcd"), Layout(Path("/d")), durable=durable)
    assert ("--unsafe-no-fsync" in arguments) is not durable


def test_settings_are_remembered(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert Settings.read(layout) is None
    SETTINGS.write(layout)
    assert Settings.read(layout) == SETTINGS
    assert layout.settings.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", json.dumps({"port": 1, "of_another_version": True})])
def test_settings_that_cannot_be_read_are_none(tmp_path: Path, content: str) -> None:
    layout = Layout(tmp_path)
    layout.settings.write_text(content)
    assert Settings.read(layout) is None


def test_what_runs_is_as_wanted_whatever_its_port_is() -> None:
    wanted = replace(SETTINGS, port=0, renew_at=NOW.timestamp() + 9_999)
    assert wanted.are_met_by(SETTINGS, now=NOW)


@pytest.mark.parametrize(
    "other",
    [
        replace(SETTINGS, controllers=False),
        replace(SETTINGS, namespace="other"),
        replace(SETTINGS, service_account="other"),
        replace(SETTINGS, binaries="/of/another/version"),
    ],
    ids=["without controllers", "another namespace", "another account", "other programs"],
)
def test_what_runs_differently_is_not_as_wanted(other: Settings) -> None:
    assert not SETTINGS.are_met_by(other, now=NOW)


def test_what_runs_with_old_certificates_is_not_as_wanted() -> None:
    assert not SETTINGS.are_met_by(SETTINGS, now=NOW + dt.timedelta(seconds=60))
