"""What the control plane's programs are told: flags and files, as pure functions of where things lie."""

import base64
import datetime as dt
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from hack.controlplane import files
from hack.controlplane.certificates import KeyPair

HOST = "127.0.0.1"
SERVICE_ADDRESSES = "10.0.0.0/24"
API_SERVICE_ADDRESS = "10.0.0.1"  # the first of SERVICE_ADDRESSES: kubernetes.default.svc
API_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")

# Unix sockets need no free port and, in a private directory, no password. Their names are relative to the directory in
# which all of it runs, because a socket's path is limited to 107 bytes (unix(7)). etcd demands a port in an address
# that it advertises, and takes it as a part of the name.
ETCD_CLIENTS = "unix://etcd.sock:0"
ETCD_PEERS = "unix://etcd-peers.sock:0"

AUDIT_LOG_MEGABYTES = 100
AUDIT_LOG_BACKUPS = 1
ETCD_KEPT_REVISIONS_MINUTES = "10m"

# No nodes, no cloud, no load balancers: what an operator of custom resources and Jobs meets.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
)

# One entry for each request when it is answered, and one when a watch begins. Probes are nobody's work.
AUDIT_POLICY: dict[str, object] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one control plane lies."""

    directory: Path

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def authority(self) -> Path:
        return self.pki / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        return self.pki / "apiserver.crt"

    @property
    def server_key(self) -> Path:
        return self.pki / "apiserver.key"

    @property
    def admin_pem(self) -> Path:
        return self.pki / "admin.pem"

    @property
    def token_key(self) -> Path:
        return self.pki / "service-accounts.key"

    @property
    def audit_policy(self) -> Path:
        return self.directory / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.directory / "admin.kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        return self.directory / "operator.kubeconfig"

    @property
    def controllers_kubeconfig(self) -> Path:
        return self.directory / "controller-manager.kubeconfig"

    @property
    def settings(self) -> Path:
        return self.directory / "settings.json"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def kubectl_cache(self) -> Path:
        return self.directory / "kubectl-cache"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a control plane was started with; kept in its directory."""

    port: int
    controllers: bool
    namespace: str
    service_account: str
    binaries: str
    outlives: bool
    renew_at: float
    """POSIX time."""

    def write(self, layout: Layout) -> None:
        files.write_private(layout.settings, json.dumps(asdict(self), indent=1).encode())

    def are_met_by(self, other: "Settings", *, now: dt.datetime) -> bool:
        """Whether the other was started as these demand, and its certificates are good for some time yet."""
        same = replace(self, port=other.port, renew_at=other.renew_at) == other
        return same and now.timestamp() < other.renew_at

    @classmethod
    def read(cls, layout: Layout) -> Self | None:
        """None where there are none, or of another version of this class."""
        try:
            return cls(**json.loads(layout.settings.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def etcd(binary: Path, layout: Layout, *, durable: bool) -> list[str]:
    return [
        str(binary),
        "--name=local",
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls={ETCD_CLIENTS}",
        f"--advertise-client-urls={ETCD_CLIENTS}",
        f"--listen-peer-urls={ETCD_PEERS}",
        f"--initial-advertise-peer-urls={ETCD_PEERS}",
        f"--initial-cluster=local={ETCD_PEERS}",
        f"--auto-compaction-retention={ETCD_KEPT_REVISIONS_MINUTES}",
        "--log-level=warn",
        *([] if durable else ["--unsafe-no-fsync"]),
    ]


def api_server(binary: Path, layout: Layout, *, port: int) -> list[str]:
    return [
        str(binary),
        f"--etcd-servers={ETCD_CLIENTS}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        "--endpoint-reconciler-type=none",  # nothing reaches it through the Service, and a loopback address is refused
        f"--secure-port={port}",
        "--permit-port-sharing",  # with the socket that reserves the port
        f"--tls-cert-file={layout.server_certificate}",
        f"--tls-private-key-file={layout.server_key}",
        f"--client-ca-file={layout.authority}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.token_key}",
        f"--service-account-signing-key-file={layout.token_key}",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
        f"--audit-log-maxbackup={AUDIT_LOG_BACKUPS}",
        "--profiling=false",
    ]


def controller_manager(binary: Path, layout: Layout) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={layout.controllers_kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        f"--root-ca-file={layout.authority}",
        f"--service-account-private-key-file={layout.token_key}",
        "--use-service-account-credentials",
        "--secure-port=0",  # nobody asks it anything
        "--leader-elect=false",  # there is one
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def kubeconfig(*, url: str, authority: bytes, client: KeyPair, user: str, namespace: str) -> bytes:
    """A kubeconfig that carries all it needs (YAML, being JSON)."""

    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode()

    credentials = {
        "client-certificate-data": encoded(client.certificate),
        "client-key-data": encoded(client.key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": url, "certificate-authority-data": encoded(authority)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user, "namespace": namespace}}],
        "current-context": "local",
    }
    return json.dumps(document, indent=1).encode()


def service_account_user(namespace: str, service_account: str) -> str:
    return f"system:serviceaccount:{namespace}:{service_account}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
