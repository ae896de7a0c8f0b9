"""What Meta holds, asked of the stand-in itself and never of the operator."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import httpx

from hack.demo.products import COLUMNS
from hack.emulator import jsons

PRICES = ("price", "sale_price")
TIMEOUT_SECONDS = 30.0


class Meta:
    """The control interface of the stand-in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def items(self, catalog: str) -> dict[str, dict[str, str]]:
        """Every item of a catalog by id, its values by the names of feeds."""
        found: dict[str, dict[str, str]] = {}
        after: jsons.Json = 0
        while after is not None:
            answer = self._get("/_emulator/items", catalog=catalog, after=str(after))
            after = None
            for line in filter(None, answer.content.splitlines()):
                row = jsons.as_object(jsons.parse(line))
                if "next" in row:
                    after = row["next"]
                else:
                    values = jsons.as_object(row["values"])
                    found[jsons.as_text(row["id"])] = {name: jsons.as_text(value) for name, value in values.items()}
        return found

    def stats(self) -> jsons.Object:
        return jsons.as_object(jsons.parse(self._get("/_emulator/stats").content))

    def catalogs(self) -> dict[str, jsons.Object]:
        """Name, number of feeds and number of items by id."""
        found = jsons.as_object(self.stats()["catalogs"])
        return {name: jsons.as_object(value) for name, value in found.items()}

    def busy(self) -> bool:
        """Whether Meta still works on something that it accepted."""
        stats = self.stats()
        return bool(stats["sessions_running"]) or bool(stats["effects_pending"])

    def audit(self) -> jsons.Object:
        return jsons.as_object(jsons.parse(self._get("/_emulator/audit").content))

    def _get(self, path: str, **query: str) -> httpx.Response:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer


def differences(wanted: Mapping[str, Mapping[str, str]], held: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Where the items at Meta are not what the source says: missing, other values, too many."""
    found = [f"{item} is missing" for item in wanted if item not in held]
    found += [f"{item} is still there" for item in held if item not in wanted]
    for item, row in wanted.items():
        if item in held:
            found += [
                f"{item}: {name} is {held[item].get(name, '')!r} instead of {row[name]!r}"
                for name in COLUMNS
                if not same(name, row[name], held[item].get(name, ""))
            ]
    return found


def same(name: str, one: str, other: str) -> bool:
    """Whether two values mean the same: 12.5 EUR is 12.50 EUR."""
    if name in PRICES:
        return _amount(one) == _amount(other)
    return one.strip() == other.strip()


def _amount(text: str) -> tuple[Decimal | None, str]:
    amount, _, currency = " ".join(text.split()).partition(" ")
    try:
        return Decimal(amount), currency
    except InvalidOperation:
        return None, text
