"""Prices in their one form, so that equal decimals are equal texts: "9.90 EUR".

What a source writes plainly is taken as it is. Where the entry declares a currency or a decimal comma, what people
write by hand is understood too: thousands separated, a symbol or the code before or behind the number. A symbol that
does not belong to the currency, or a number that can be read in two ways, stays as it is, for the rules to name.
"""

import polars as pl

_PRICE = r"^([0-9]{1,12})(?:\.([0-9]{1,6}))?(?:\s*([A-Za-z]{3}))?$"
CANONICAL = r"^[0-9]+(\.[0-9]+)? [A-Z]{3}$"
BARE = r"^[0-9]+(\.[0-9]+)?$"
_NO_DECIMALS = ("CLP", "ISK", "JPY", "KRW", "PYG", "VND", "XAF", "XOF", "XPF", "UGX", "RWF", "KMF", "GNF", "DJF", "BIF")
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
"""ISO 4217: currencies without and with three decimals; the others have two."""
_SETTLED = r"^(?:0|[1-9][0-9]{0,11})\.[0-9]{2} [A-Z]{3}$"
_OTHER_DECIMALS = (*_NO_DECIMALS, *_THREE_DECIMALS)
"""A price with two decimals that are its currency's is written as it should be, whatever else is declared."""
_CODES_TEXT = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS
INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK
SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST
XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
"""
CODES = tuple(_CODES_TEXT.split())
"""ISO 4217, also those of currencies that ended lately: which of them a shop may still use is Meta's to say."""
_BLANKS = r"[\s\u00a0\u202f']"
_GROUPED_BY_COMMA = r"^[0-9]{1,3}(,[0-9]{3})+(\.[0-9]{1,6})?$"
_GROUPED_BY_POINT = r"^[0-9]{1,3}(\.[0-9]{3})*(,[0-9]{1,6})?$|^[0-9]+(,[0-9]{1,6})?$"
SYMBOLS = {
    "€": ("EUR",),
    "£": ("GBP",),
    "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP"),
    "¥": ("JPY", "CNY"),
    "zł": ("PLN",),
    "Kč": ("CZK",),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
    "₹": ("INR",),
    "₺": ("TRY",),
    "R$": ("BRL",),
    "Fr.": ("CHF",),
}
"""What people write for a currency, and which ones they may mean."""


def canonical(frame: pl.DataFrame, name: str, code: pl.Expr, currency: str | None, *, comma: bool) -> pl.Series:
    """Write a column of prices; `code` is the currency of rows that carry none."""
    values = frame.get_column(name)
    others = values.is_not_null() & ~(values.str.contains(_SETTLED) & ~values.str.tail(3).is_in(_OTHER_DECIMALS))
    at = others.arg_true()
    if not at.len():
        return values
    rows = frame.filter(others)
    written = rows.select(_canonical(rows, name, code, currency, comma=comma).alias(name)).to_series()
    return written if at.len() == values.len() else values.clone().scatter(at, written)


def _canonical(frame: pl.DataFrame, name: str, code: pl.Expr, currency: str | None, *, comma: bool) -> pl.Expr:
    text = pl.col(name)
    plain = canonical_price(text, code)
    if currency is None and not comma:
        return plain
    odd = text.is_not_null() & ~text.str.contains(_PRICE)
    if not comma and not frame.select(odd.any()).item():
        return plain
    return canonical_price(_as_a_number(text, currency, comma=comma), code, otherwise=text)


def canonical_price(text: pl.Expr, code: pl.Expr | str | None, otherwise: pl.Expr | None = None) -> pl.Expr:
    """Write a price canonically: "9.9 eur" and "09.900 EUR" become "9.90 EUR"; what is no price stays."""
    standard = code if isinstance(code, pl.Expr) else pl.lit(code, dtype=pl.String)
    parts = text.str.extract_groups(_PRICE)
    code = parts.struct.field("3").str.to_uppercase().fill_null(standard)
    whole = parts.struct.field("1").str.strip_chars_start("0")
    whole = pl.when(whole == "").then(pl.lit("0")).otherwise(whole)
    digits = parts.struct.field("2").fill_null("").str.strip_chars_end("0")
    padded = (
        pl.when(code.is_in(_NO_DECIMALS))
        .then(digits)
        .when(code.is_in(_THREE_DECIMALS))
        .then(digits.str.pad_end(3, "0"))
        .otherwise(digits.str.pad_end(2, "0"))
    )
    fraction = pl.when(padded == "").then(pl.lit("")).otherwise(pl.concat_str(pl.lit("."), padded))
    written = pl.concat_str(whole, fraction, pl.lit(" "), code)
    return pl.when(written.is_not_null()).then(written).otherwise(text if otherwise is None else otherwise)


def _as_a_number(text: pl.Expr, currency: str | None, *, comma: bool) -> pl.Expr:
    """Take symbol, code and separators off; null where that is not certain."""
    number = text.str.replace_all(_BLANKS, "")
    code = number.str.extract(r"([A-Za-z]{3})$")
    number = pl.when(code.is_not_null()).then(number.str.head(-3)).otherwise(number)
    for word in _words(currency):
        number = number.str.strip_prefix(word).str.strip_suffix(word)
    if comma:
        fits = number.str.contains(_GROUPED_BY_POINT)
        number = number.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    else:
        fits = number.str.contains(_GROUPED_BY_COMMA) | number.str.contains(BARE)
        number = number.str.replace_all(",", "", literal=True)
    return pl.when(fits).then(pl.concat_str(number, pl.concat_str(pl.lit(" "), code).fill_null("")))


def _words(currency: str | None) -> list[str]:
    if currency is None:
        return []
    return [currency, *(symbol for symbol, codes in SYMBOLS.items() if currency in codes)]
