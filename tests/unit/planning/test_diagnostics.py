"""Reports of items that a Catalog should have."""

from datetime import timedelta

from controller.api.resource import ObjectMeta
from controller.api.v1alpha1.diagnostic_report import REPORTED_MAX, Priority
from controller.planning.diagnostics import reports
from controller.ports.preparing import RuleCount
from tests.unit.planning.examples import NOW, catalog

PRICE = RuleCount(
    rule="price-format", level="Error", count=3, message="price must be a number", sample_ids=("a", "b", "a")
)
ADVICE = RuleCount(rule="advice-video", level="Advice", count=9, message="give video[0].url", sample_ids=())


def test_one_report_per_issue_owned_by_the_catalog() -> None:
    price, video = reports(catalog(), (PRICE, ADVICE), {}, NOW)
    assert (price.name, video.name) == ("germany-price-format", "germany-advice-video")
    owner = price.metadata.controller
    assert owner is not None
    assert (owner.kind, owner.uid) == ("Catalog", "u-1")
    assert dict(price.metadata.labels) == {
        "metacatalog.dev/catalog": "germany",
        "metacatalog.dev/issue": "price-format",
        "metacatalog.dev/priority": "High",
    }
    assert (price.report.issue.priority, price.report.count) == (Priority.HIGH, 3)
    assert [(item.id, item.since) for item in price.report.items] == [("a", NOW), ("b", NOW)], "each item once"
    assert (video.report.issue.priority, video.report.count, video.report.items) == (Priority.LOW, 9, ())


def test_an_item_keeps_the_time_since_which_it_is_named() -> None:
    (first,) = reports(catalog(), (PRICE,), {}, NOW)
    stored = first.model_copy(
        update={"metadata": ObjectMeta(name=first.name, namespace="shop", uid="u-7", resource_version="41")}
    )
    later = NOW + timedelta(hours=1)
    changed = PRICE.model_copy(update={"sample_ids": ("b", "c")})
    (second,) = reports(catalog(), (changed,), {stored.name: stored}, later)
    assert [(item.id, item.since) for item in second.report.items] == [("b", NOW), ("c", later)]
    assert (second.uid, second.metadata.resource_version) == ("u-7", "41"), "a PUT names what it replaces"


def test_a_report_stays_small() -> None:
    names = tuple(f"{number:05}{'x' * 95}" for number in range(REPORTED_MAX + 1))
    (found,) = reports(catalog(), (PRICE.model_copy(update={"sample_ids": names}),), {}, NOW)
    assert len(found.report.items) == REPORTED_MAX
    assert len(found.model_dump_json(by_alias=True)) < 256 * 1024
