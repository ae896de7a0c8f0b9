"""Prices as Meta shows them, read back into the form of feeds: "£34.00" and GBP become "34.00 GBP".

Meta answers with text that is formatted for people, in a locale that it does not tell. Symbols say nothing that the
currency does not say better, so only digits and separators are read. babel parses numbers only when the locale is
known; here the rules that hold in every locale have to do.
"""

import re
from decimal import Decimal

_NUMBER = re.compile(r"[0-9](?:[0-9.,'’\u00a0\u202f\u2009 ]*[0-9])?")
_CODE = re.compile(r"(?<![A-Z])[A-Z]{3}(?![A-Z])")
_GROUPING_ONLY = "'’\u00a0\u202f\u2009 "

_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_DECIMALS_OF = {code: places for places, codes in _DECIMALS.items() for code in codes.split()}
"""ISO 4217: currencies whose minor unit is not a hundredth."""


def decimals_of(currency: str) -> int:
    return _DECIMALS_OF.get(currency, 2)


def normalise_price(text: str, currency: str | None) -> str | None:
    """Return amount, space and currency with the decimals of the currency, or None where that cannot be said."""
    code = _currency_of(text, currency)
    number = _NUMBER.search(text)
    if code is None or number is None:
        return None
    amount = Decimal(_plain(number.group(), decimals_of(code)))
    places = max(decimals_of(code), _places(amount))
    return f"{amount:.{places}f} {code}"


def _currency_of(text: str, currency: str | None) -> str | None:
    if currency and re.fullmatch(r"[A-Za-z]{3}", currency):
        return currency.upper()
    found = _CODE.search(text)
    return found.group() if found is not None else None


def _plain(number: str, decimals: int) -> str:
    """Remove what groups digits and turn what separates decimals into a point."""
    for grouping in _GROUPING_ONLY:
        number = number.replace(grouping, "")
    mark = _decimal_mark(number, decimals)
    if mark is None:
        return number.replace(".", "").replace(",", "")
    whole, _, fraction = number.rpartition(mark)
    return whole.replace(".", "").replace(",", "") + "." + fraction


def _decimal_mark(number: str, decimals: int) -> str | None:
    """Tell which of point and comma separates decimals.

    With both, it is the last one. A mark that repeats groups. A single mark groups when three digits follow it, a
    digit other than a lone zero precedes it, and the currency does not have three decimals.
    """
    marks = [character for character in number if character in ".,"]
    if not marks:
        return None
    last = marks[-1]
    if len(set(marks)) == 2:
        return last if marks.count(last) == 1 else None
    if len(marks) > 1:
        return None
    whole, _, fraction = number.partition(last)
    groups = len(fraction) == 3 and decimals != 3 and whole.strip("0") != "" and len(whole) <= 3
    return None if groups else last


def _places(amount: Decimal) -> int:
    """Count the decimals that matter: trailing zeros beyond the currency's own do not."""
    exponent = amount.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
