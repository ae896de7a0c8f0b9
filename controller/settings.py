"""What the administrator decides when the operator is installed: flags, checked once at start.

Each setting is a command line flag (`--store-url`) with an environment variable beside it (`METACATALOG_STORE_URL`).
A wrong one ends the process at start with the flag's name, never later.
"""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _network(text: str) -> str:
    return str(ip_network(text))


Network = Annotated[str, AfterValidator(_network)]


class Timing(BaseModel):
    """Waits that keep the invariants, and how often we look. Tests shorten them, never below Meta's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listing_lag: timedelta = timedelta(seconds=60)
    """L: how long a listing may not show what was accepted."""
    settle: timedelta = timedelta(seconds=10)
    """Between a terminal answer and the next write to the same partition."""
    effect_horizon: timedelta = timedelta(minutes=2)
    """S: a read decides only when taken this long after the partition's last effect."""
    batch_abandon: timedelta = timedelta(minutes=30)
    """W: an uncertain or stuck batch is given up after this time."""
    late_effect_check: timedelta = timedelta(hours=1)
    """After an abandonment the ids are read again this much later."""
    upload_abandon: timedelta = timedelta(hours=24)
    read_back_after: timedelta = timedelta(minutes=2)
    """An uncertain batch is read back from here on."""
    batch_poll: timedelta = timedelta(seconds=20)
    upload_poll: timedelta = timedelta(seconds=15)
    secret_poll: timedelta = timedelta(seconds=60)
    token_check: timedelta = timedelta(minutes=15)
    drift_check: timedelta = timedelta(hours=1)
    retry_min: timedelta = timedelta(seconds=5)
    retry_max: timedelta = timedelta(minutes=30)
    operation_retry_min: timedelta = timedelta(minutes=1)
    relist: timedelta = timedelta(minutes=10)
    """The watched objects are compared with one metadata-only LIST per kind this often."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: str = "https://graph.facebook.com"
    """Base of the Graph API. A flag and never a field of a resource: a field would let a manifest send tokens away."""
    graph_version: str = "v26.0"
    namespace: str = "meta-catalog-system"
    """Where the operator keeps its lease, its installation id and the ledgers."""
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all."""
    store_url: str = "file:///var/lib/metacatalog"
    source_roots: dict[str, Path] = Field(default_factory=dict)
    """Named directories that `source.volume` may read."""
    allow_source_network: tuple[Network, ...] = ()
    """Networks beyond public addresses that sources may be fetched from."""
    allow_ambient_object_credentials: tuple[str, ...] = ()
    """Prefixes such as s3://bucket/exports/ that sources may read as the operator itself, without keys of their own."""
    store_cache: Path = Path("/var/cache/metacatalog")
    """Where objects of an s3:// store are kept on the local disk; needs as much room as the store."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    children_max: Annotated[int, Field(ge=1, le=16)] = 2
    """Child processes that read or encode at the same time."""
    child_memory_bytes_max: int = 4 << 30
    child_deadline: timedelta = timedelta(hours=1)
    lease_seconds: Annotated[float, Field(ge=1)] = 15.0
    lease_renew_seconds: Annotated[float, Field(ge=0.5)] = 10.0
    lease_retry_seconds: Annotated[float, Field(ge=0.1)] = 2.0
    http_host: str = "0.0.0.0"  # noqa: S104 - probes and metrics are asked from outside the pod
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    log_level: str = "INFO"
    timing: Timing = Timing()
