"""An API server in memory, for the simulation and for fast tests.

It speaks the wire format of the real one through the same `Transport`, so everything above it is the operator's own
code. `tests/contract/kube` holds it to the real kube-apiserver. What it leaves out: authentication, RBAC, admission
and validation by the CRDs.
"""

from tests.kubernetes_memory.cluster import MemoryCluster
from tests.kubernetes_memory.incarnation import Crashed, Incarnation
from tests.kubernetes_memory.informer import Informer
from tests.kubernetes_memory.server import MemoryApiServer
from tests.kubernetes_memory.transport import Faults, MemoryTransport
from tests.virtual_time import LoopClock, run_virtual

__all__ = [
    "Crashed",
    "Faults",
    "Incarnation",
    "Informer",
    "LoopClock",
    "MemoryApiServer",
    "MemoryCluster",
    "MemoryTransport",
    "run_virtual",
]
