"""Names on the wire, and the small CEL vocabulary."""

import pytest
from pydantic import ValidationError

from controller.api.base import WireModel, exactly_one, immutable, matches, settable_once, wire_name


@pytest.mark.parametrize(
    ("python", "wire"),
    [
        ("name", "name"),
        ("connection_ref", "connectionRef"),
        ("catalog_id", "catalogID"),
        ("item_ids", "itemIDs"),
        ("owner_uid", "ownerUID"),
        ("default_image_url", "defaultImageURL"),
        ("fallback_image_urls", "fallbackImageURLs"),
        ("url_secret_ref", "urlSecretRef"),
        ("api_version", "apiVersion"),
        ("from_", "from"),
    ],
)
def test_wire_names_follow_kubernetes(python: str, wire: str) -> None:
    assert wire_name(python) == wire


class Sample(WireModel):
    feed_id: str
    note: str | None = None
    count: int = 3


def test_both_names_are_read_and_only_what_was_set_is_written() -> None:
    assert Sample(feed_id="1") == Sample.from_wire({"feedID": "1"})
    assert Sample(feed_id="1", note=None).to_wire() == {"feedID": "1"}
    assert Sample(feed_id="1", count=3).to_wire() == {"feedID": "1", "count": 3}


def test_errors_never_repeat_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.from_wire({"feedID": {"password": "hunter2"}})
    assert "feedID" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_rules_are_proof_against_removing_and_adding_again() -> None:
    optional = immutable("deadline", message="no", optional=True).rule
    assert optional.startswith("has(self.deadline) == has(oldSelf.deadline) && ")
    assert settable_once("feedID", message="no").rule == (
        "!has(oldSelf.feedID) || (has(self.feedID) && self.feedID == oldSelf.feedID)"
    )
    assert exactly_one("cron", "interval", message="one").rule == (
        "(has(self.cron) ? 1 : 0) + (has(self.interval) ? 1 : 0) == 1"
    )


def test_patterns_are_quoted_for_cel() -> None:
    assert matches(r"^[^\t']+$") == r"self.matches('^[^\\t\']+$')"
