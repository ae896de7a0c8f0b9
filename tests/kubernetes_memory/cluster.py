"""The operator's own Kubernetes adapter over the in-memory server, for one life of one process."""

import random
from collections.abc import Callable

from controller.api.resource import ObjectKey, Resource
from controller.clock import Clock
from controller.kube.cluster import KubernetesCluster
from controller.kube.events import EventRecorder
from tests.kubernetes_memory.incarnation import Incarnation
from tests.kubernetes_memory.server import MemoryApiServer
from tests.kubernetes_memory.transport import Faults, MemoryTransport

OPERATOR_NAMESPACE = "meta-catalog-system"


class MemoryCluster(KubernetesCluster):
    """`known` is usually `lambda kind, key: objects.get(kind, key)`. Run `recorder.run()` to have events written."""

    def __init__(
        self,
        server: MemoryApiServer,
        incarnation: Incarnation,
        clock: Clock,
        *,
        known: Callable[[type[Resource], ObjectKey], Resource | None],
        namespace: str = OPERATOR_NAMESPACE,
        rng: random.Random | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.incarnation = incarnation
        self.transport = MemoryTransport(server, incarnation, rng=rng, faults=faults)
        self.recorder = EventRecorder(self.transport, clock, namespace=namespace, instance=incarnation.name)
        super().__init__(self.transport, self.recorder, namespace=namespace, known=known)

    def cut(self) -> None:
        """Kill -9 of the process: no effect gets out any more, every call ends like a cancelled one."""
        self.incarnation.cut()
