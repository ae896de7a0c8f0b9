"""What Meta's integration guide recommends beyond the required fields: one rule per recommendation.

| rule | what the guide's step 2 says, in our words |
|---|---|
| advice-quantity | price and a stock count (quantity_to_sell_on_facebook) are the optional data with the most effect |
| advice-category | give a category of Google's or Meta's taxonomy, or both: products are found, taxes are right |
| advice-more-images | give several images of high quality in additional_image_link |
| advice-size | sellers of apparel give size |
| advice-sale-dates | where there is a sale price, say when it holds |
| advice-gender, -age-group, -material, -pattern, -color | give the attributes that belong to the category |
| advice-rich-text | give rich_text_description where the description has more than 200 characters |
| advice-video | give a video where there is one |
| advice-custom-labels | custom labels let people fine-tune how items are shown |
| variant-attributes | variants are told apart by the fields they vary in: fill them wherever there is a group |

"Price", which the first sentence names too, is a required field. That a sale price should be given "if applicable" is
nothing that a row shows. Category attributes are asked for where the category has them: apparel, by its name in one of
the category fields or by Google's number.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import polars as pl

from controller.products.fields import AVAILABILITY, GROUP, QUANTITY

Level = Literal["Error", "Warning", "Advice"]
LONG_DESCRIPTION = 200
"""Characters from which on the guide asks for a rich text description."""
ADVISED_TITLE_LENGTH = 65
"""Meta: catalog reference, title."""
_CATEGORIES = ("google_product_category", "fb_product_category", "product_type")
_APPAREL = (
    r"(?i)apparel|clothing|clothes|shoes|footwear|bekleidung|kleidung|schuhe|vêtement|chaussure|ropa|abbigliament"
)
_APPAREL_NUMBERS = r"^(166|1604|187|5322|203|204|207|208|211|212|213|1594|1581|1831|2271|2302|3066|5182|5388|5441)$"
"""Google's taxonomy: Apparel & Accessories, Clothing, Shoes and the children of Clothing."""
APPAREL_ATTRIBUTES = ("size", "color", "gender", "age_group", "material", "pattern")
VARIANT_ATTRIBUTES = ("color", "size", "material", "pattern", "gender", "additional_variant_attribute")
"""Meta: product variants, attributes that may differ within a group."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check: which rows break it, and what to do about it."""

    name: str
    level: Level
    broken: pl.Expr
    message: str


def rules(columns: Collection[str]) -> list[Rule]:
    """Every recommendation that these columns can be judged by."""
    found = [_quantity(columns), _category(columns)]
    found += [_missing(columns, "additional_image_link", "advice-more-images", "several images sell better than one")]
    apparel = _apparel(columns)
    if apparel is not None:
        found += [_of_apparel(columns, name, apparel) for name in APPAREL_ATTRIBUTES]
    if "sale_price" in columns:
        found.append(_sale_dates(columns))
    if "description" in columns:
        found.append(_rich_text(columns))
    found.append(_video(columns))
    found.append(_custom_labels(columns))
    if "title" in columns:
        long = pl.col("title").str.len_chars() > ADVISED_TITLE_LENGTH
        found.append(Rule("advice-title-length", "Advice", long, "titles above 65 characters are cut where shown"))
    if "brand" in columns:
        message = "give a brand: gtin or mpn suffice for ingestion, but people search by brand"
        found.append(Rule("advice-brand", "Advice", pl.col("brand").is_null(), message))
    return found


def variant_attributes(columns: Collection[str]) -> list[Rule]:
    if GROUP not in columns:
        return []
    told_apart = [pl.col(name).is_not_null() for name in VARIANT_ATTRIBUTES if name in columns]
    broken = pl.col(GROUP).is_not_null() & ~pl.any_horizontal(told_apart) if told_apart else pl.col(GROUP).is_not_null()
    message = "a variant needs what it varies in: one of color, size, material, pattern, gender or another attribute"
    return [Rule("variant-attributes", "Warning", broken, message)]


def absent(columns: Collection[str], name: str) -> pl.Expr:
    """Rows without a value in a field that may have no column at all."""
    return pl.col(name).is_null() if name in columns else pl.repeat(value=True, n=pl.len())


def _missing(columns: Collection[str], name: str, rule: str, why: str) -> Rule:
    return Rule(rule, "Advice", absent(columns, name), f"give {name}: {why}")


def _quantity(columns: Collection[str]) -> Rule:
    broken = absent(columns, QUANTITY)
    if AVAILABILITY in columns:
        broken = broken & (pl.col(AVAILABILITY) == "in stock")
    return Rule("advice-quantity", "Advice", broken, f"give {QUANTITY}: how many there are to sell")


def _category(columns: Collection[str]) -> Rule:
    broken = pl.all_horizontal(absent(columns, name) for name in ("google_product_category", "fb_product_category"))
    message = "give google_product_category or fb_product_category: products are found, and taxes are right"
    return Rule("advice-category", "Advice", broken, message)


def _apparel(columns: Collection[str]) -> pl.Expr | None:
    present = [name for name in _CATEGORIES if name in columns]
    if not present:
        return None
    named = [pl.col(name).str.contains(_APPAREL) for name in present]
    if "google_product_category" in present:
        named.append(pl.col("google_product_category").str.contains(_APPAREL_NUMBERS))
    return pl.any_horizontal(each.fill_null(value=False) for each in named)


def _of_apparel(columns: Collection[str], name: str, apparel: pl.Expr) -> Rule:
    message = f"give {name}: shoppers of apparel look for it"
    return Rule(f"advice-{name}".replace("_", "-"), "Advice", absent(columns, name) & apparel, message)


def _sale_dates(columns: Collection[str]) -> Rule:
    broken = pl.col("sale_price").is_not_null() & absent(columns, "sale_price_effective_date")
    message = "give sale_price_effective_date: without it a sale lasts until sale_price is removed"
    return Rule("advice-sale-dates", "Advice", broken, message)


def _rich_text(columns: Collection[str]) -> Rule:
    long = pl.col("description").str.len_chars() > LONG_DESCRIPTION
    message = f"give rich_text_description: the description has more than {LONG_DESCRIPTION} characters"
    return Rule("advice-rich-text", "Advice", long & absent(columns, "rich_text_description"), message)


def _video(columns: Collection[str]) -> Rule:
    present = [name for name in columns if name == "video" or (name.startswith("video[") and name.endswith(".url"))]
    broken = pl.all_horizontal(pl.col(name).is_null() for name in present) if present else absent(columns, "video")
    return Rule("advice-video", "Advice", broken, "give video[0].url where there is a video")


def _custom_labels(columns: Collection[str]) -> Rule:
    broken = pl.all_horizontal(absent(columns, f"custom_label_{number}") for number in range(5))
    message = "give custom_label_0 to custom_label_4: they let you group items in sets and advertisements"
    return Rule("advice-custom-labels", "Advice", broken, message)
