"""What may be dialled."""

import ipaddress

import pytest

from controller.faults import Fault
from controller.sources import addresses

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        (PUBLIC, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse, not to bind
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        (f"::ffff:{PUBLIC}", True),
    ],
)
def test_only_public_addresses(address: str, allowed: bool) -> None:
    where = addresses.target("https://shop.example/feed?token=s3cr3t")
    if allowed:
        assert addresses.choose(where, [address], []) == ipaddress.ip_address(address)
        return
    with pytest.raises(Fault) as caught:
        addresses.choose(where, [address], [])
    assert caught.value.reason == "SourceRefused"
    assert "--allow-source-network" in caught.value.message
    assert "s3cr3t" not in caught.value.message


def test_the_administrator_allows_networks() -> None:
    where = addresses.target("http://feed/")
    assert str(addresses.choose(where, ["10.1.2.3"], ["10.0.0.0/8"])) == "10.1.2.3"
    mapped = "::ffff:10.1.2.3"
    assert addresses.choose(where, [mapped], ["10.0.0.0/8"]) == ipaddress.ip_address(mapped)
    with pytest.raises(Fault):
        addresses.choose(where, ["169.254.169.254"], ["10.0.0.0/8"])


def test_one_bad_address_among_good_ones_refuses_all() -> None:
    with pytest.raises(Fault) as caught:
        addresses.choose(addresses.target("http://feed/"), [PUBLIC, "127.0.0.1"], [])
    assert caught.value.reason == "SourceRefused"
    with pytest.raises(Fault) as caught:
        addresses.choose(addresses.target("http://feed/"), [], [])
    assert caught.value.reason == "SourceUnreachable"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/x",
        "file:///etc/passwd",
        "gopher://x/",
        "shop.example/x",
        "http://",
        "https://user@shop.example/",
        "https://user:pw@shop.example/",
        "http://shop.example:99999/",
        "http://shop.example:x/",
        "http://[::1/",
        "http://a b/",
        "http://shop\\@evil/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Fault) as caught:
        addresses.target(url)
    assert caught.value.reason == "SourceRefused"
    assert "pw" not in caught.value.message


def test_a_target_is_dialled_by_address_and_asked_by_name() -> None:
    found = addresses.target("https://Shop.Example/a/b?x=1#frag")
    assert (found.authority, found.path_and_query, found.shown) == (
        "shop.example",
        "/a/b?x=1",
        "https://shop.example/a/b",
    )
    (address,) = [addresses.choose(found, [PUBLIC], [])]
    assert found.dialled(address) == f"https://{PUBLIC}:443/a/b?x=1"
    assert addresses.target("http://h:8080").authority == "h:8080"


def test_redirects_stay_within_the_rules() -> None:
    here = addresses.target("https://shop.example/a/b?x=1")
    assert addresses.redirected(here, "/c").shown == "https://shop.example/c"
    assert addresses.redirected(here, "https://other.example/").host == "other.example"
    for location in (None, "", "http://shop.example/", "file:///etc/passwd", "https://u:p@x/"):
        with pytest.raises(Fault) as caught:
            addresses.redirected(here, location)
        assert caught.value.reason == "SourceRefused"
