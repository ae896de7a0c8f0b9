"""Everything that reconcile reaches the world through. Built by the composition root, or by the simulation."""

import random
from dataclasses import dataclass

from controller.clock import Clock
from controller.ports.kubernetes import Cluster
from controller.ports.meta import GraphFactory
from controller.ports.preparing import Preparing
from controller.ports.sources import Probe
from controller.ports.stores import Store
from controller.reconcile.metrics import Metrics
from controller.reconcile.objects import ObjectStore
from controller.scheduling.governor import LedgerGovernor
from controller.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    clock: Clock
    rng: random.Random
    """Jitter and nonces. Seeded by the simulation."""
    cluster: Cluster
    graphs: GraphFactory
    preparing: Preparing
    store: Store
    probe: Probe
    governor: LedgerGovernor
    objects: ObjectStore
    settings: Settings
    metrics: Metrics
    incarnation: str
    """Identity of this process between two starts, e.g. its lease identity."""
