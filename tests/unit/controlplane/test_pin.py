"""Another version of Kubernetes is pinned by what its own go.mod says."""

import pytest

from hack.controlplane import pin

THEIRS = """
module k8s.io/kubernetes

go 1.27.0

godebug default=go1.27

require (
	go.etcd.io/etcd/api/v3 v3.7.1
	go.etcd.io/etcd/client/v3 v3.7.2
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.140.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
)
"""


def test_every_staging_module_is_replaced_by_its_published_version() -> None:
    assert pin.go_mod("1.40.2", THEIRS) == (
        "module hack/controlplane\n\ngo 1.27.0\n\nrequire k8s.io/kubernetes v1.40.2\n\nreplace (\n"
        "\tk8s.io/api => k8s.io/api v0.40.2\n\tk8s.io/client-go => k8s.io/client-go v0.40.2\n)\n"
    )


def test_etcd_is_the_one_that_this_kubernetes_requires() -> None:
    assert [tool for tool in pin.tools(THEIRS) if "etcd" in tool] == ["go.etcd.io/etcd/server/v3@v3.7.2"]


def test_another_layout_is_said() -> None:
    with pytest.raises(ValueError, match="laid out differently"):
        pin.tools(THEIRS.replace("client/v3", "client/v4"))


@pytest.mark.parametrize("arguments", [[], ["latest"], ["v1.36.3"], ["1.36"], ["1.36.3", "more"]])
def test_a_version_is_three_numbers(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        pin.main(arguments)
