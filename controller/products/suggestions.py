"""What to write into the manifest, guessed from the header and the first rows of a source.

Only ever advice: a mapping is what a person declared. Headers are compared with the words that shops use for a field
in a few languages, values with how a field's values look. The result is one piece of JSON, which is YAML too, to be
merged into the items entry.
"""

import json
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from controller.api.v1alpha1.items import DecimalSeparator, ItemsEntry
from controller.products import prices
from controller.products.fields import AVAILABILITIES, AVAILABILITY, CONDITIONS, CURRENCY, OUT_OF_STOCK
from controller.products.rules import PRICES, canonical_availability

WORDS: dict[str, str] = {
    "id": "id sku item itemid productid articleid artnr artikelnr artikelnummer bestellnummer reference ref referencia "
    "riferimento codice code codigo productcode itemno itemnumber variantsku nr nummer",
    "title": "title name productname itemname produktname bezeichnung artikelbezeichnung artikel artikelname titel "
    "produkt product nom libelle designation nombre titulo producto nome prodotto",
    "description": "description desc beschreibung produktbeschreibung langtext kurztext text details descriptif "
    "descripcion descrizione longdescription shortdescription body bodyhtml",
    "availability": "availability available stock instock stockstatus verfugbarkeit verfugbar lieferbar lagerbestand "
    "bestand lager auflager disponibilite disponible disponibilidad disponibilita giacenza qty quantity onhand",
    "condition": "condition zustand etat estado condizione",
    "price": "price preis vk vkpreis bruttopreis verkaufspreis prix prixttc precio pvp prezzo sellprice unitprice "
    "regularprice retailprice",
    "link": "link url producturl productlink deeplink produktlink produkturl webseite website lien pagina enlace "
    "web page produktseite artikelseite productpage",
    "image_link": "imagelink image imageurl bild bildurl bildlink foto photo picture img imagesrc lienimage imagen "
    "immagine mainimage produktbild",
    "brand": "brand marke hersteller manufacturer vendor maker marque fabricant marca fabricante produttore",
    "gtin": "gtin ean ean13 eancode upc barcode isbn",
    "mpn": "mpn herstellernummer manufacturerpartnumber partnumber modell model",
    CURRENCY: "currency wahrung waehrung devise moneda divisa valuta",
}
"""Field to headers in English, German, French, Spanish and Italian, without accents, blanks and case."""

_SOLD_OUT_WORDS = "no nein non n false ausverkauft nichtlieferbar nichtverfugbar nichtauflager soldout unavailable "
_SOLD_OUT_WORDS += "epuise rupture enrupture agotado sinstock esaurito nondisponibile outofstock vergriffen"
_IN_STOCK_WORDS = (
    "yes ja oui si y j true lieferbar sofortlieferbar auflager verfugbar lagernd available instock enstock "
)
_IN_STOCK_WORDS += "disponible disponibile"
_TRANSLATIONS = {
    AVAILABILITY: {OUT_OF_STOCK: _SOLD_OUT_WORDS.split(), "in stock": _IN_STOCK_WORDS.split()},
    "condition": {
        "new": ["neu", "neuware", "neuf", "nuevo", "nuovo", "brandnew"],
        "used": ["gebraucht", "occasion", "usado", "usato", "secondhand"],
        "refurbished": ["generaluberholt", "refurbished", "reconditionne", "reacondicionado", "ricondizionato"],
    },
}
_ALLOWED = {AVAILABILITY: AVAILABILITIES, "condition": CONDITIONS}
_CODE = re.compile(r"\b([A-Z]{3})\b")
_COMMA = r",[0-9]{1,2}\D*$"
_WEB = r"(?i)^https?://\S+$"
_HOST_FIRST = r"(?i)^[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?$"
_IMAGE = r"(?i)\.(jpe?g|png|webp|gif)(\?|$)"
_HOST_PREFIXES = ("www.", "img.", "cdn.", "images.", "static.", "media.")
_OWN_BRAND, _OWN_SHOP = "YOUR BRAND", "YOUR-SHOP"
SHOWN_MAX = 20
"""Prices that are looked at for a currency."""
_SIMILAR_ENOUGH = 4
"""Letters that a header must share with a word to count as containing it."""


@dataclass(slots=True)
class Advised:
    """What to merge into the items entry, and which rule each part is for."""

    entry: str
    mapping: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    decimal: str | None = None
    currency: str | None = None
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """What a person must decide, because nothing in the file says it, by the value that stands in for it."""

    @property
    def fields(self) -> set[str]:
        """Fields for which there is advice."""
        return {line["field"] for part in ("columns", "constants", "templates") for line in self.mapping.get(part, ())}

    def text(self) -> str:
        """Words that end a message; empty where nothing can be advised."""
        mapping: dict[str, Any] = {**self.mapping, **({"decimal": self.decimal} if self.decimal else {})}
        document = {
            **({"mapping": mapping} if mapping else {}),
            **({"currency": self.currency} if self.currency else {}),
        }
        return self._sentence(document) if document else ""

    def hints(self) -> dict[str, str]:
        return {rule: self._sentence(document) for rule, document in self.rules.items()}

    def add(self, part: str, line: dict[str, str]) -> None:
        self.mapping.setdefault(part, []).append(line)

    def _sentence(self, document: dict[str, Any]) -> str:
        written = json.dumps(document, ensure_ascii=False)
        notes = "".join(f". {note}" for word, note in self.notes.items() if word in written)
        return f"{notes}. Check this and add it to spec.items[{self.entry}]: {written}"


Sample = tuple[pl.DataFrame, pl.DataFrame] | None
"""First rows as they are in the source, and mapped as far as the mapping goes."""


def suggest(entry: ItemsEntry, names: list[str], missing: list[str], sample: Sample) -> Advised:
    """Advise for fields that nothing gives, and for values that no rule accepts."""
    advised = Advised(entry.name, notes={_OWN_SHOP: f"Write the address of your shop in place of {_OWN_SHOP}"})
    source = sample[0] if sample is not None else pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    mapped = sample[1] if sample is not None else pl.DataFrame()
    given = {name: mapped.get_column(name) for name in mapped.columns if mapped.get_column(name).count()}
    for name in missing:
        column = _column_for(name, names, source)
        if column is None:
            _instead(name, names, source, advised)
            continue
        advised.add("columns", {"field": name, "column": column})
        given[name] = source.get_column(column)
    for name in (AVAILABILITY, "condition"):
        if name in given:
            _advise_values(name, given[name], advised)
    _advise_prices(entry, names, source, given, advised)
    return advised


def plain(word: str) -> str:
    """Letters and digits alone, small and without accents."""
    decomposed = unicodedata.normalize("NFKD", word.lower().replace("ß", "ss"))
    return re.sub(r"[^a-z0-9]", "", decomposed)


def _column_for(name: str, names: list[str], source: pl.DataFrame) -> str | None:
    words = WORDS.get(name, "").split()
    fitting = [column for column in names if _looks_right(name, source.get_column(column))]
    simple = {column: plain(re.sub(r"\(.*?\)|\[.*?\]", "", column)) for column in fitting}
    ranked = [column for word in words for column in fitting if simple[column] == word]
    ranked += [
        column
        for word in words
        for column in fitting
        if len(word) >= _SIMILAR_ENOUGH and (word in simple[column] or _starts_alike(simple[column], word))
    ]
    return ranked[0] if ranked else _only_address(name, fitting, source)


def _only_address(name: str, fitting: list[str], source: pl.DataFrame) -> str | None:
    """Column of addresses that nobody would have named otherwise."""
    if name not in {"link", "image_link"}:
        return None
    addresses = [column for column in fitting if source.get_column(column).count()]
    images = [column for column in addresses if source.get_column(column).drop_nulls().str.contains(_IMAGE).all()]
    found = images if name == "image_link" else [column for column in addresses if column not in images]
    return found[0] if len(found) == 1 else None


def _starts_alike(header: str, word: str) -> bool:
    return len(header) >= _SIMILAR_ENOUGH and word.startswith(header)


def _looks_right(name: str, values: pl.Series) -> bool:
    """Exclude columns whose values are clearly of another kind; a column without values may be anything."""
    present = values.drop_nulls()
    if present.is_empty():
        return True
    web = present.str.contains(_WEB).mean()
    if name in {"link", "image_link"}:
        return web == 1
    if name == "price":
        return bool(present.str.contains(r"\d").all()) and web == 0
    return web == 0


def _instead(name: str, names: list[str], source: pl.DataFrame, advised: Advised) -> None:
    """Advise for a field that no column has."""
    title = next((each["column"] for each in advised.mapping.get("columns", ()) if each["field"] == "title"), None)
    if name == "condition":
        advised.add("constants", {"field": name, "value": "new"})
    elif name == AVAILABILITY:
        advised.add("constants", {"field": name, "value": "in stock"})
    elif name == "description" and (title is not None or "title" in names):
        advised.add("columns", {"field": name, "column": title or "title"})
    elif name == "brand":
        _identify(names, source, advised)
    elif name in {"link", "image_link"}:
        _complete_address(name, names, source, advised)


def _identify(names: list[str], source: pl.DataFrame, advised: Advised) -> None:
    for other in ("gtin", "mpn"):
        column = _column_for(other, names, source)
        if column is not None:
            advised.add("columns", {"field": other, "column": column})
            return
    host = _host(source)
    for prefix in _HOST_PREFIXES:
        host = host.removeprefix(prefix)
    if host == _OWN_SHOP:
        advised.notes[_OWN_BRAND] = "Write the name of your brand in place of YOUR BRAND"
    advised.add("constants", {"field": "brand", "value": _OWN_BRAND if host == _OWN_SHOP else host})


def _complete_address(name: str, names: list[str], source: pl.DataFrame, advised: Advised) -> None:
    """Advise a template where addresses lack their scheme or their host."""
    words = WORDS[name].split()
    for column in names:
        values = source.get_column(column).drop_nulls()
        if plain(column) not in words or values.is_empty():
            continue
        if values.str.contains(_HOST_FIRST).all() and not values.str.contains(_IMAGE).any():
            advised.add("templates", {"field": name, "template": f"https://{{{column}}}"})
            return
        slash = "" if values.str.starts_with("/").all() else "/"
        advised.add("templates", {"field": name, "template": f"https://{_host(source)}{slash}{{{column}}}"})
        return
    key = next((each["column"] for each in advised.mapping.get("columns", ()) if each["field"] == "id"), None)
    key = key or ("id" if "id" in names else None)
    if key is not None and name == "link":
        advised.add("templates", {"field": name, "template": f"https://{_host(source)}/{{{key}}}"})


def _host(source: pl.DataFrame) -> str:
    for values in source.iter_columns():
        if values.dtype != pl.String:
            continue
        web: list[str] = values.filter(values.str.contains(_WEB)).head(1).to_list()
        host = urlsplit(web[0]).hostname if web else None
        if host is not None:
            return host
    return _OWN_SHOP


def _advise_values(name: str, values: pl.Series, advised: Advised) -> None:
    """Translate words that mean one of the allowed ones."""
    lines: list[dict[str, str]] = []
    canonical = canonical_availability(pl.col(name)) if name == AVAILABILITY else pl.col(name).str.to_lowercase()
    for value in values.drop_nulls().str.strip_chars().unique(maintain_order=True).to_list():
        known = pl.DataFrame({name: [value]}).select(canonical).item()
        if not value or known in _ALLOWED[name]:
            continue
        meant = next((to for to, words in _TRANSLATIONS[name].items() if plain(value) in words), None)
        if meant is not None:
            lines.append({"field": name, "from": value, "to": meant})
    if lines:
        advised.mapping["values"] = [*advised.mapping.get("values", []), *lines]
        advised.rules[f"{name}-value"] = {"mapping": {"values": lines}}


def _advise_prices(
    entry: ItemsEntry, names: list[str], source: pl.DataFrame, given: dict[str, pl.Series], advised: Advised
) -> None:
    values = [given[name].drop_nulls() for name in PRICES if name in given]
    texts = pl.concat([each.cast(pl.String) for each in values]) if values else pl.Series(dtype=pl.String)
    if texts.is_empty():
        return
    commas = entry.mapping.decimal is DecimalSeparator.POINT and bool(texts.str.contains(_COMMA).any())
    if commas:
        advised.decimal = DecimalSeparator.COMMA.value
    coded = bool(texts.str.contains(r"[A-Za-z]{3}\s*$").all())
    column = _column_for(CURRENCY, names, source)
    if entry.currency is None and not coded and CURRENCY not in {plain(name) for name in names}:
        if column is not None:
            advised.add("columns", {"field": CURRENCY, "column": column})
        if column is None or not texts.str.contains(r"^[0-9.,\s]+$").all():
            advised.currency, certain = _currency(names, texts)
            if not certain:
                advised.notes[advised.currency] = (
                    f"{advised.currency} is a guess: write the currency that the prices are in, by its three letters"
                )
    mapping: dict[str, Any] = {"decimal": advised.decimal} if advised.decimal else {}
    coded_by = [line for line in advised.mapping.get("columns", ()) if line["field"] == CURRENCY]
    if coded_by:
        mapping["columns"] = coded_by
    document: dict[str, Any] = {"mapping": mapping} if mapping else {}
    if advised.currency:
        document["currency"] = advised.currency
    if document:
        for name in PRICES:
            word = name.replace("_", "-")
            advised.rules |= {f"{word}-currency": document, f"{word}-format": document}


def _currency(names: list[str], texts: pl.Series) -> tuple[str, bool]:
    """Tell the currency from a code or a symbol, in a price or in a header, and whether that is certain."""
    for text in (*texts.head(SHOWN_MAX).to_list(), *names):
        code = _CODE.search(text)
        if code and any(code.group(1) in codes for codes in prices.SYMBOLS.values()):
            return code.group(1), True
        for symbol, codes in prices.SYMBOLS.items():
            if symbol in text and not symbol.isalpha():
                return codes[0], len(codes) == 1
    return "EUR", False
