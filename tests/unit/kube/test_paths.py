import pytest

from controller.api.v1alpha1 import Catalog
from controller.kube import paths


def test_paths_of_our_kinds() -> None:
    assert paths.collection(Catalog, None) == "/apis/metacatalog.dev/v1alpha1/catalogs"
    assert paths.item(Catalog, "shop", "a") == "/apis/metacatalog.dev/v1alpha1/namespaces/shop/catalogs/a"
    assert paths.status(Catalog, "shop", "a").endswith("/catalogs/a/status")


def test_a_name_stays_one_segment() -> None:
    assert paths.secret("shop", "../nodes").endswith("/secrets/..%2Fnodes")


@pytest.mark.parametrize("make", [lambda: paths.secret("shop", ""), lambda: paths.item(Catalog, "", "a")])
def test_an_empty_name_would_address_the_collection(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="must not be empty"):
        make()
