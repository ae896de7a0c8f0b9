"""Check digits of article numbers (GS1 General Specifications, section 7.9): GTIN-8, -12, -13 and -14.

From the right, digits weigh 1, 3, 1, 3 …; the sum is a multiple of ten. Whole columns at once, by arithmetic on
integers: the packages that do this take one number at a time.
"""

import polars as pl

_DIGITS = r"^([0-9]{8}|[0-9]{12,14})$"
_HALF = 7
"""Fourteen digits are two halves, so that arithmetic stays within 32 bits."""


def wrong(text: pl.Expr) -> pl.Expr:
    """Tell which values are no article number, or one whose check digit does not fit; null stays null."""
    number = text.cast(pl.UInt64, strict=False)
    low = (number % 10**_HALF).cast(pl.UInt32)
    high = (number // 10**_HALF).cast(pl.UInt32, strict=False)
    total = _weighed(low, odd=0) + _weighed(high, odd=_HALF)
    return ~text.str.contains(_DIGITS) | (total % 10 != 0)


def _weighed(half: pl.Expr, odd: int) -> pl.Expr:
    """Sum up the digits of a half whose last digit is the place `odd` from the right."""
    digits = [(half // 10**place) % 10 * (3 if (place + odd) % 2 else 1) for place in range(_HALF)]
    return pl.sum_horizontal(digits)
