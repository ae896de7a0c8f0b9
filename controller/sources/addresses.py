"""Which addresses a source may have. Pure: names are resolved elsewhere, and what was checked here is dialled.

A source is named by whoever may write a Catalog, and is fetched by the operator from inside the cluster. So loopback,
link-local (where clouds keep their metadata services), private and other special addresses are refused unless the
administrator listed their network, and the check is on the resolved address, at every redirect.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

from controller.faults import Disposition, Fault

REDIRECTS_MAX = 5
_WEB_PORTS = {"http": 80, "https": 443}
_DEFAULT_PORTS = {**_WEB_PORTS, "postgresql": 5432}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """One hop: what is asked of whom."""

    scheme: str
    host: str
    port: int
    path_and_query: str

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """For messages: without the query, where secrets may stand."""
        return f"{self.scheme}://{self.authority}{self.path_and_query.split('?', 1)[0]}"

    def dialled(self, address: Address) -> str:
        """URL with the checked address in place of the name."""
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path_and_query}"


def refused(why: str) -> Fault:
    return Fault("SourceRefused", Disposition.STALLED, why)


def target(url: str) -> Target:
    """Take a URL apart; refuse what is not plain http or https."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise refused("the source URL cannot be parsed; write http(s)://host/path") from None
    if parts.scheme not in _WEB_PORTS or not parts.hostname:
        raise refused("the source URL must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise refused("the source URL must not carry a user name or password; put them into a Secret")
    if re.search(r"[\x00-\x20\x7f\\]", parts.netloc):
        raise refused("the host of the source URL has characters that do not belong there")
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return Target(parts.scheme, parts.hostname, port or _WEB_PORTS[parts.scheme], path)


def redirected(current: Target, location: str | None) -> Target:
    """Follow a Location header. From https back to http is refused."""
    if not location:
        raise refused(f"{current.shown} redirects to nowhere")
    base = f"{current.scheme}://{current.authority}{current.path_and_query}"
    found = target(urljoin(base, location))
    if current.scheme == "https" and found.scheme == "http":
        raise refused(f"{current.shown} redirects from https to http")
    return found


def choose(where: Target, resolved: Iterable[str], allowed_networks: Sequence[str]) -> Address:
    """Return the first resolved address if all of them are allowed; one that is not could be dialled by chance."""
    addresses = [ipaddress.ip_address(each.split("%", 1)[0]) for each in resolved]
    if not addresses:
        raise Fault("SourceUnreachable", Disposition.RETRY, f"the host of {where.shown} has no address")
    networks = [ipaddress.ip_network(each, strict=False) for each in allowed_networks]
    for address in addresses:
        if not _allowed(address, networks):
            raise refused(
                f"{where.shown} resolves to {address}, which is not public; "
                "the administrator can allow its network with --allow-source-network"
            )
    return addresses[0]


def _allowed(address: Address, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    plain = _unwrapped(address)
    if any(each.version == plain.version and plain in each for each in networks):
        return True
    return plain.is_global and not plain.is_multicast


def _unwrapped(address: Address) -> Address:
    """Take an IPv4 address out of the IPv6 forms that reach it."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or _nat64(address) or address
    return address


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """RFC 6052: 64:ff9b::/96 carries an IPv4 address in its last 32 bits."""
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
