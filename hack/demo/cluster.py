"""What the demo asks of the API server, always through kubectl as the administrator."""

from collections.abc import Iterable

from hack.controlplane.cluster import ControlPlane
from hack.emulator import jsons

NAMESPACE = "default"
CATALOG = "germany"
CONNECTION = "acme"
SECRET = "meta"


class Cluster:
    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def catalog(self) -> jsons.Object:
        return self._read("get", "catalog", CATALOG, "--output=json")

    def objects(self, kinds: Iterable[str]) -> list[jsons.Object]:
        found = self._read("get", ",".join(kinds), "--output=json")
        return [jsons.as_object(one) for one in jsons.as_list(found["items"])]

    def wait(self, condition: str, seconds: float) -> None:
        """What a person would type. Raises KubectlError."""
        self.plane.kubectl(
            "wait",
            f"--for=condition={condition}",
            f"catalog/{CATALOG}",
            f"--timeout={seconds:.0f}s",
            timeout_seconds=seconds + 10,
        )

    def apply(self, path: str) -> str:
        return self.plane.kubectl("apply", f"--filename={path}").strip()

    def table(self, *arguments: str) -> str:
        return self.plane.kubectl("get", *arguments).rstrip()

    def _read(self, *arguments: str) -> jsons.Object:
        return jsons.as_object(jsons.parse(self.plane.kubectl(*arguments)))


def conditions(resource: jsons.Object) -> dict[str, jsons.Object]:
    """Conditions by type."""
    status = jsons.as_object(resource.get("status"))
    listed = [jsons.as_object(one) for one in jsons.as_list(status.get("conditions"))]
    return {jsons.as_text(one["type"]): one for one in listed}


def status(resource: jsons.Object) -> jsons.Object:
    return jsons.as_object(resource.get("status"))


def name(resource: jsons.Object) -> str:
    return jsons.as_text(jsons.as_object(resource.get("metadata")).get("name"))
