"""Values that are shown in one language or country only, as the documents of the steps name them.

An overlay with `override` says what items hold for one localization. What Meta has acknowledged of it stands in a
snapshot of its own, per partition; there is one head for each localization, whatever the overlay is called.
"""

from typing import Literal, Self

from pydantic import model_validator

from controller.ports.documents import Document


class Locale(Document):
    """A language, a country, or one within the other."""

    language: str | None = None
    country: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if not self.language and not self.country:
            raise ValueError("a localization names a language, a country, or both")
        return self

    @property
    def type(self) -> Literal["LANGUAGE", "COUNTRY", "LANGUAGE_AND_COUNTRY"]:
        """Meta's word for what it names (Meta: localized items batch)."""
        if self.language and self.country:
            return "LANGUAGE_AND_COUNTRY"
        return "LANGUAGE" if self.language else "COUNTRY"

    @property
    def value(self) -> str:
        """Meta's key for it, e.g. fr_XX, FR or fr_XX|FR (Meta: localized items batch)."""
        return "|".join(part for part in (self.language, self.country) if part)


class LocaleDeclared(Document):
    """A localization that an overlay of the entry names, whether or not that was ever read."""

    name: str
    """Of the overlay."""
    locale: Locale


class LocaleHead(Document):
    """What Meta has acknowledged of one partition for one localization."""

    name: str
    """Of the overlay whose values were sent last."""
    locale: Locale
    snapshot: str


class LocalePending(Document):
    """What one partition still owes Meta for one localization, as counts of items."""

    name: str
    locale: Locale
    ids: int = 0
    """Items at Meta for which the overlay has values that may be sent."""
    acknowledged: int = 0
    changes: int = 0
    """Items whose values are to be sent, or to be removed."""
    refused: int = 0
    """Items whose values Meta has refused as they are now."""
    unknown: int = 0
    """Of the changes: nobody knows what Meta has."""
