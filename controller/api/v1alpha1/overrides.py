"""Values that are shown in one language or country only: which fields they may have, and whose they are."""

from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import Rule
from controller.api.resource import Spec

COUNTRY_FIELDS = ("price", "sale_price", "unit_price", "base_price", "status", "availability")
"""Meta: localized items batch, fields that only the values of a country may have."""
NOT_LOCALIZED = ("image_link",)
"""Meta: localized items batch, a field that no localization may have; image[0].url stands for it."""

OVERLAY_RULES = (
    Rule(
        "!has(self.override) || !has(self.override.language) || !has(self.columns) || "
        f"!self.columns.exists(each, each.field in {list(COUNTRY_FIELDS)})",
        "price, sale_price, unit_price, base_price, status and availability can only differ by country: give an "
        "override with country alone, or leave these columns out",
        ".columns",
    ),
    Rule(
        f"!has(self.override) || !has(self.columns) || !self.columns.exists(each, each.field in {list(NOT_LOCALIZED)})",
        "image_link cannot differ by language or country: give image[0].url instead",
        ".columns",
    ),
)
"""On an overlay."""


def _same_override(part: str) -> str:
    """CEL: two overlays, each with an override, name the same language or country, or none."""
    first, second = (f"(has({each}.override.{part}) ? {each}.override.{part} : '')" for each in ("one", "other"))
    return f"{first} == {second}"


ONE_OVERLAY_EACH = Rule(
    "!has(self.overlays) || self.overlays.all(one, !has(one.override) || self.overlays.filter(other, "
    f"has(other.override) && {_same_override('language')} && {_same_override('country')}).size() == 1)",
    "two overlays give values for the same language or country: one localization has one overlay",
    ".overlays",
)
"""On an items entry."""


class Override(Spec):
    """For whom other values are shown: a language, a country, or a language within a country."""

    RULES: ClassVar[tuple[Rule, ...]] = (Rule("has(self.language) || has(self.country)", "give language or country"),)

    language: Annotated[str, Field(max_length=8, pattern=r"^[a-z]{2,3}_[A-Z]{2}$")] | None = Field(
        default=None,
        description="Language as Meta writes it, e.g. fr_XX.",
    )
    country: Annotated[str, Field(max_length=2, pattern=r"^[A-Z]{2}$")] | None = Field(
        default=None,
        description="Country, ISO 3166, e.g. FR.",
    )
