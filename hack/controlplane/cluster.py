"""One running control plane: how it is started, used, restarted and ended.

    with ControlPlane.start(directory) as control_plane:
        control_plane.kubectl("apply", "-f", "crds")

Everything of it lies in its directory: data, certificates, kubeconfigs, logs, the audit log, and a record of each
process. So anybody who knows the directory finds it again, and nothing that an interrupted start or a killed run left
running is lost: the next start there ends it. There are two kinds of use:

- In tests it is bound: it ends with the process that started it, however that ends, and its data is removed.
- For the demo it outlives who started it, until it is stopped. Its data is kept: a start after that, or after the
  machine was restarted, continues with it, on the same port unless somebody took that meanwhile.

envtest of controller-runtime does this for Go. For Python there is nothing that works without containers.
"""

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import httpx

from controller.clock import SystemClock
from hack.controlplane import binaries, configuration, files, processes
from hack.controlplane.binaries import API_SERVER, CONTROLLER_MANAGER, ETCD, KUBECTL
from hack.controlplane.configuration import HOST, Layout, Settings
from hack.controlplane.identities import prepare
from hack.controlplane.processes import Process

OPERATOR_NAMESPACE = "meta-catalog-system"
OPERATOR_SERVICE_ACCOUNT = "meta-catalog-operator"

RENEWED_AFTER = timedelta(days=20)
"""A start of one that runs already restarts it from then on: the operator's certificate lasts 30 days."""

READY_SECONDS = 60.0  # measured: 3 s on two idle cores; the rest is for machines that do much else
READY_POLL_SECONDS = 0.05
PROBE_SECONDS = 5.0
ENDING_SECONDS = 10.0
KUBECTL_SECONDS = 60.0

ORDER_OF_ENDING = (CONTROLLER_MANAGER, API_SERVER, ETCD)  # nobody is left without what it depends on


class ControlPlaneError(Exception):
    """The control plane does not do what it should."""


class StoreError(ControlPlaneError):
    """etcd does not run on the data that it found."""


class KubectlError(ControlPlaneError):
    """kubectl ended with an error."""

    def __init__(self, arguments: Sequence[str], code: int, output: str, error: str) -> None:
        super().__init__(f"kubectl {shlex.join(arguments)}: exit code {code}\n{error.strip()}")
        self.code = code
        self.output = output
        self.error = error


class ControlPlane:
    """A control plane that runs. `start` or `attach` make one."""

    def __init__(self, layout: Layout, settings: Settings, running: Mapping[str, Process]) -> None:
        self._layout = layout
        self.settings = settings
        self._running = dict(running)
        self._port: socket.socket | None = None
        self.directory = layout.directory
        self.binaries = Path(settings.binaries)
        self.url = f"https://{HOST}:{settings.port}"
        self.admin_kubeconfig = layout.admin_kubeconfig
        self.operator_kubeconfig = layout.operator_kubeconfig
        self.audit_log = layout.audit_log
        self.namespace = settings.namespace
        self.service_account = settings.service_account

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        controllers: bool = True,
        namespace: str = OPERATOR_NAMESPACE,
        service_account: str = OPERATOR_SERVICE_ACCOUNT,
        manifests: Sequence[Path] = (),
        outlives: bool = False,
    ) -> Self:
        """Start one in this directory and return when it answers; the operator's namespace exists then.

        `manifests` are applied before the controllers start: these learn of kinds that come later only when they look
        again (every 30 s), and collect no garbage of them before that. With `outlives`, one that runs there already is
        returned (with the manifests applied); it is restarted with its data if it was started differently.
        """
        layout = Layout(directory.resolve())
        layout.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        layout.pki.mkdir(exist_ok=True, mode=0o700)
        now = SystemClock().now()
        settings = Settings(
            port=0,
            controllers=controllers,
            namespace=namespace,
            service_account=service_account,
            binaries=str(binaries.ensure().directory),
            outlives=outlives,
            renew_at=(now + RENEWED_AFTER).timestamp(),
        )
        with files.exclusive(layout.lock):
            found = cls.attach(layout.directory)
            if found is not None and not (outlives and found.settings.outlives):
                raise ControlPlaneError(f"A control plane runs in {layout.directory} already. Stop that one first.")
            if found is not None and settings.are_met_by(found.settings, now=now):
                found.apply(manifests)
                return found
            _end_recorded(layout, grace_seconds=ENDING_SECONDS)
            return cls._begin(layout, settings, manifests)

    @classmethod
    def attach(cls, directory: Path) -> Self | None:
        """The one that runs in this directory, whoever started it. None if not all of it runs, or it is not ready."""
        layout = Layout(directory.resolve())
        settings = Settings.read(layout)
        if settings is None:
            return None
        plane = cls(layout, settings, processes.recorded(layout.directory))
        expected = {ETCD, API_SERVER} | ({CONTROLLER_MANAGER} if settings.controllers else set())
        return plane if expected <= plane._running.keys() and plane.ready() else None

    @classmethod
    def _begin(cls, layout: Layout, settings: Settings, manifests: Sequence[Path]) -> Self:
        before = Settings.read(layout)
        if not settings.outlives:
            _remove_data(layout)
        reserved = _reserve(before.port if before is not None and settings.outlives else 0)
        settings = replace(settings, port=reserved.getsockname()[1])
        settings.write(layout)
        prepare(layout, settings, now=SystemClock().now())
        plane = cls(layout, settings, {})
        plane._port = reserved
        has_data = layout.etcd_data.exists()
        try:
            plane._start_all(manifests)
        except StoreError:
            plane._end(grace_seconds=0)
            if not has_data:
                raise
            _set_aside(layout)
            return cls._begin(layout, settings, manifests)
        except BaseException:
            plane._end(grace_seconds=0)
            raise
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> Mapping[str, Process]:
        """Its processes by name."""
        return MappingProxyType(self._running)

    @property
    def shell_line(self) -> str:
        """What to paste into a shell, so that kubectl is found there and speaks to this one."""
        programs, kubeconfig = shlex.quote(str(self.binaries)), shlex.quote(str(self.admin_kubeconfig))
        return f'export PATH={programs}:"$PATH" KUBECONFIG={kubeconfig}'

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - the name it has in subprocess.run
        check: bool = True,
        kubeconfig: Path | None = None,
        timeout_seconds: float = KUBECTL_SECONDS,
    ) -> str:
        """Run kubectl, as the administrator unless another kubeconfig is given, and return what it printed.

        An error raises KubectlError. With `check=False` what it says of the error is returned instead.
        """
        ended = subprocess.run(
            [str(self.binaries / KUBECTL), *arguments],
            env={
                **os.environ,
                "KUBECONFIG": str(kubeconfig or self.admin_kubeconfig),
                "KUBECACHEDIR": str(self._layout.kubectl_cache),
            },
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if ended.returncode != 0:
            if check:
                raise KubectlError(arguments, ended.returncode, ended.stdout, ended.stderr)
            return ended.stdout + ended.stderr
        return ended.stdout

    def apply(self, manifests: Sequence[Path]) -> None:
        """Apply files, and wait until the API server serves every kind that is defined."""
        if not manifests:
            return
        named = (f"--filename={path}" for path in manifests)
        applied = self.kubectl("apply", "--server-side", "--force-conflicts", "--output=name", *named).split()
        kinds = [name for name in applied if name.startswith("customresourcedefinition.")]
        if kinds:
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", *kinds)

    def ready(self) -> bool:
        """Whether the API server says that it is."""
        try:
            with self._client() as client:
                return bool(client.get("/readyz").status_code == HTTPStatus.OK)
        except (httpx.HTTPError, OSError):
            return False

    def stop_api_server(self) -> None:
        """Kill the API server. Connections to it are refused until it is started again; nobody can take its port."""
        if self._port is None:
            self._port = _reserve(self.settings.port)
        self._running.pop(API_SERVER).end(grace_seconds=0)

    def start_api_server(self) -> None:
        """Start it again after `stop_api_server`, on the same port and data, and return when it is ready."""
        if API_SERVER in self._running:
            raise ControlPlaneError("The API server runs; stop it first.")
        program = self.binaries / API_SERVER
        self._spawn(API_SERVER, configuration.api_server(program, self._layout, port=self.settings.port))
        self._wait_ready()

    def restart_api_server(self) -> None:
        """Kill the API server and start it again: every watch breaks, and what was stored stays."""
        self.stop_api_server()
        self.start_api_server()

    def stop(self) -> None:
        """End all of it. Harmless when it has ended."""
        with files.exclusive(self._layout.lock):
            if self.settings.outlives:
                self._end(grace_seconds=ENDING_SECONDS)
            else:
                self._end(grace_seconds=0)
                _remove_data(self._layout)

    def _start_all(self, manifests: Sequence[Path]) -> None:
        durable = self.settings.outlives
        self._spawn(ETCD, configuration.etcd(self.binaries / ETCD, self._layout, durable=durable))
        self.start_api_server()
        self._create_namespace()
        self.apply(manifests)
        if self.settings.controllers:
            program = self.binaries / CONTROLLER_MANAGER
            self._spawn(CONTROLLER_MANAGER, configuration.controller_manager(program, self._layout))

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        self._running[name] = processes.start(
            name,
            command,
            directory=self.directory,
            bound=not self.settings.outlives,
            # Nothing of the caller's: etcd takes every setting from a variable too, and gRPC would use a proxy.
            environment={"PATH": os.defpath, "HOME": str(self.directory)},
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        store, server = self._running[ETCD], self._running[API_SERVER]
        while not self.ready():
            if not store.runs():
                raise StoreError(f"etcd ended instead of serving its data.\n{processes.tail(store.log)}")
            if server.wait(READY_POLL_SECONDS):
                raise ControlPlaneError(f"kube-apiserver ended instead of serving.\n{processes.tail(server.log)}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    f"kube-apiserver is not ready after {READY_SECONDS:.0f} s.\n{processes.tail(server.log)}"
                )

    def _client(self) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=self._layout.authority)
        trusted.load_cert_chain(self._layout.admin_pem)
        return httpx.Client(base_url=self.url, verify=trusted, timeout=PROBE_SECONDS, trust_env=False)

    def _create_namespace(self) -> None:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        with self._client() as client:
            answer = client.post("/api/v1/namespaces", json=document)
        if answer.status_code not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            raise ControlPlaneError(f"The namespace {self.namespace} cannot be created: {answer.text}")

    def _end(self, *, grace_seconds: float) -> None:
        for name in ORDER_OF_ENDING:
            if name in self._running:
                self._running.pop(name).end(grace_seconds)
        processes.forget(self.directory)
        if self._port is not None:
            self._port.close()
            self._port = None


def stop(directory: Path) -> bool:
    """End what runs in this directory, complete or not, whoever started it. Whether anything ran. Data is kept."""
    layout = Layout(directory.resolve())
    if not layout.directory.exists():
        return False
    with files.exclusive(layout.lock):
        return _end_recorded(layout, grace_seconds=ENDING_SECONDS)


def erase(directory: Path) -> None:
    """End what runs in this directory and remove all of it."""
    stop(directory)
    if Layout(directory).settings.exists():  # never what is not a control plane's
        shutil.rmtree(directory)


def _end_recorded(layout: Layout, *, grace_seconds: float) -> bool:
    running = processes.recorded(layout.directory)
    for name in ORDER_OF_ENDING:
        if name in running:
            running[name].end(grace_seconds)
    processes.forget(layout.directory)
    return bool(running)


def _remove_data(layout: Layout) -> None:
    for part in (layout.etcd_data, layout.kubectl_cache):
        shutil.rmtree(part, ignore_errors=True)


def _set_aside(layout: Layout) -> None:
    """Make room for new data, and keep what cannot be used until the next time."""
    unusable = layout.etcd_data.with_suffix(".unusable")
    shutil.rmtree(unusable, ignore_errors=True)
    layout.etcd_data.rename(unusable)


def _reserve(port: int) -> socket.socket:
    """Take this port, or any free one, for the API server: a socket that is bound and does not listen.

    The API server may bind to it as well, being told to share it. Nobody else gets it, neither before the API server
    has started nor while it restarts; without that the kernel would give it away, above all to clients that try to
    reach the very port and get it as their own.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserved.bind((HOST, port))
    except OSError:
        reserved.close()
        if port == 0:
            raise
        return _reserve(0)
    return reserved
