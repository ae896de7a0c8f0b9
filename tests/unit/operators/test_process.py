"""The small parts of the process. Its life as a whole is tested with a real API server."""

import pytest

from controller.api.v1alpha1 import KINDS
from controller.kube.transport import Json, NotSent, Refused, Request
from controller.operators.process import missing_kinds


class Discovery:
    """Implements Transport: answers discovery."""

    def __init__(self, answer: Json | Exception) -> None:
        self._answer = answer

    async def send(self, request: Request) -> Json:
        assert request.path == "/apis/metacatalog.dev/v1alpha1"
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def served(*plurals: str) -> Json:
    names = [{"name": name} for plural in plurals for name in (plural, f"{plural}/status")]
    return {"kind": "APIResourceList", "resources": names}


async def test_kinds_that_are_not_served_are_named() -> None:
    everything = [kind.PLURAL for kind in KINDS]
    assert await missing_kinds(Discovery(served(*everything))) == ()
    assert await missing_kinds(Discovery(served(*everything[1:]))) == ("metaconnections.metacatalog.dev",)
    assert len(await missing_kinds(Discovery(Refused(404)))) == len(KINDS)


@pytest.mark.parametrize("failure", [Refused(403, "Forbidden"), NotSent("away")])
async def test_without_an_answer_nothing_is_said_about_kinds(failure: Exception) -> None:
    with pytest.raises(type(failure)):
        await missing_kinds(Discovery(failure))
