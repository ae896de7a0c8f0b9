"""A real control plane on this machine: kube-apiserver, kube-controller-manager and etcd as processes.

The demo and the integration tests run against it, because what an operator promises depends on what the API server
does: validation, server-side apply, watches that break, RBAC, owner references. A list of published modules makes the
binaries (``go.mod``; there is no Go source here), they are kept outside the repository, and README.md says how all this
is used and raised to another version.

    from hack.controlplane.cluster import ControlPlane

    with ControlPlane.start(directory) as control_plane:
        control_plane.kubectl("get", "namespaces")
"""
