"""Everything that Meta does not publish, as switches.

A switch with choices has at least two, and the first is the default: the worst that can't be ruled out. A switch with a
number says how late, how long or how many; its default is the most that a client must be ready for. A client has to be
right under every setting, so `draw` picks one at random for a simulation.
"""

from dataclasses import dataclass, fields
from random import Random

from hack.emulator import jsons
from hack.emulator.documented import Provenance, behaviour


@dataclass(frozen=True, slots=True)
class Choice:
    name: str
    settings: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True)
class Amount:
    name: str
    most: float
    draws: tuple[float, ...]
    says: str


CHOICES: tuple[Choice, ...] = (
    Choice(
        "fatal_row_in_replace", ("deleted", "kept"), "an item whose row in a replace file is refused counts as missing"
    ),
    Choice(
        "duplicate_rows_in_replace",
        ("deleted", "kept"),
        "an item whose id stands twice in a replace file counts as missing",
    ),
    Choice("gzip_members", ("first", "all"), "how much of a gzip file with several members is read"),
    Choice("foreign_owner", ("refuse", "adopt"), "a feed row for an id that another feed owns"),
    Choice("filename_echoed", ("false", "true"), "whether an upload session shows the name of the file that was sent"),
    Choice("partially_named_errors", ("true", "false"), "lists of errors stop at a limit while their totals go on"),
    Choice(
        "omitted_fields_in_replace",
        ("keep_volatile", "full"),
        "columns that a replace file lacks keep their volatile values, or are cleared",
    ),
    Choice("create_existing", ("refuse", "upsert"), "a batch CREATE of an id that exists"),
    Choice(
        "update_unknown",
        ("error", "silent"),
        "a batch UPDATE of an unknown id with allow_upsert=false is named, or just not done",
    ),
    Choice("delete_unknown", ("error", "ok"), "a batch DELETE of an unknown id"),
    Choice("duplicate_ids_in_batch", ("any_order", "refuse"), "two requests for one id in one batch"),
    Choice(
        "sync_error_rows_attempted",
        ("false", "true"),
        "rows with errors in validation_status are tried again asynchronously",
    ),
    Choice(
        "batch_rows_checked",
        ("at_once", "later"),
        "rows of a batch with wrong values are named in its answer, or only in its status",
    ),
    Choice("localized_update", ("merge", "replace"), "fields that a localised UPDATE leaves out stay, or end"),
    Choice("delete_unknown_override", ("error", "ok"), "a localised DELETE for an item that has no such values"),
    Choice(
        "override_field_not_allowed",
        ("refused", "dropped"),
        "a row with a field that its localization may not carry is refused, or loses the field with a warning",
    ),
    Choice("override_values_named", ("node", "feed"), "whose names and forms the values of override_details have"),
    Choice("validation_status", ("present", "absent"), "whether the answer to a batch names rows at once"),
    Choice("upload_order", ("oldest_first", "newest_first"), "order of a feed's upload sessions"),
    Choice("short_pages", ("true", "false"), "pages hold fewer rows than asked for although more follow"),
    Choice(
        "quota_profile",
        ("100_per_hour_and_8_per_minute", "200_per_hour", "8_per_minute"),
        "published readings of the catalog batch quota",
    ),
    Choice("debug_token_with_itself", ("refused", "allowed"), "a token that inspects itself through debug_token"),
    Choice("duplicate_catalog_name", ("allowed", "refused"), "a second catalog of one name in one business"),
    Choice("recreated_item_keeps_id", ("false", "true"), "the Graph id of an item that is deleted and created again"),
    Choice("warn_missing_recommended", ("true", "false"), "rows without a recommended field get a warning"),
    Choice("test_token", ("accepted", "refused"), "the well-known token of README.md"),
    Choice("onsite_checkout", ("absent", "present"), "whether catalogs have commerce_merchant_settings"),
)

AMOUNTS: tuple[Amount, ...] = (
    Amount("listing_lag_seconds", 3600, (0, 10, 40), "until a new object appears in lists, at most"),
    Amount("reads_lag_seconds", 3600, (0, 15, 60), "age of what item reads answer, at most"),
    Amount(
        "effects_after_finished_seconds",
        3600,
        (0, 3, 8),
        "rows that become effective after their session finished, at most",
    ),
    Amount(
        "handles_expire_after_seconds", 10_000_000, (1800, 86_400), "a finished batch handle is forgotten after this"
    ),
    Amount("batch_seconds_min", 86_400, (20, 90), "shortest time from a batch to finished"),
    Amount("batch_seconds_max", 86_400, (120, 150), "longest time from a batch to finished"),
    Amount("upload_delay_seconds", 86_400, (0, 3), "from the answer to an upload until its first row, at most"),
    Amount("upload_base_seconds", 86_400, (2, 8), "time an upload takes beside its rows"),
    Amount("upload_rows_per_second", 10_000_000, (5_000, 50_000), "rows an upload session works through in a second"),
    Amount("error_report_seconds", 86_400, (5, 30), "until a requested error report can be fetched"),
    Amount("upload_error_samples", 10_000, (3, 10), "samples kept for one upload error"),
    Amount("listed_batch_errors", 10_000, (5, 20), "errors and ids that a batch status lists at most"),
    Amount("page_limit_max", 5_000, (25, 200), "rows on a page, whatever limit asks for"),
    Amount("usage_header_after_calls", 1_000_000, (0, 10), "calls until the usage header appears"),
    Amount("platform_calls_per_hour", 1_000_000, (200, 1_000), "calls of an app that belong to no catalog"),
    Amount("management_calls_per_hour", 10_000_000, (20_000,), "calls per app and catalog that are not batches"),
    Amount("throttle_penalty_seconds", 86_400, (20, 60), "each call while throttled prolongs the block by this"),
)


@dataclass(slots=True)
class Switches:
    fatal_row_in_replace: str = "deleted"
    duplicate_rows_in_replace: str = "deleted"
    gzip_members: str = "first"
    foreign_owner: str = "refuse"
    filename_echoed: str = "false"
    partially_named_errors: str = "true"
    omitted_fields_in_replace: str = "keep_volatile"
    create_existing: str = "refuse"
    update_unknown: str = "error"
    delete_unknown: str = "error"
    duplicate_ids_in_batch: str = "any_order"
    sync_error_rows_attempted: str = "false"
    batch_rows_checked: str = "at_once"
    localized_update: str = "merge"
    delete_unknown_override: str = "error"
    override_field_not_allowed: str = "refused"
    override_values_named: str = "node"
    validation_status: str = "present"
    upload_order: str = "oldest_first"
    short_pages: str = "true"
    quota_profile: str = "100_per_hour_and_8_per_minute"
    debug_token_with_itself: str = "refused"
    duplicate_catalog_name: str = "allowed"
    recreated_item_keeps_id: str = "false"
    warn_missing_recommended: str = "true"
    test_token: str = "accepted"
    onsite_checkout: str = "absent"
    listing_lag_seconds: float = 40
    reads_lag_seconds: float = 60
    effects_after_finished_seconds: float = 8
    handles_expire_after_seconds: float = 1800
    batch_seconds_min: float = 90
    batch_seconds_max: float = 150
    upload_delay_seconds: float = 3
    upload_base_seconds: float = 8
    upload_rows_per_second: float = 50_000
    error_report_seconds: float = 5
    upload_error_samples: float = 10
    listed_batch_errors: float = 20
    page_limit_max: float = 200
    usage_header_after_calls: float = 10
    platform_calls_per_hour: float = 200
    management_calls_per_hour: float = 20_000
    throttle_penalty_seconds: float = 60

    def set(self, name: str, value: jsons.Json) -> None:
        """Raises ValueError that names the switch and what it takes."""
        for choice in CHOICES:
            if choice.name == name:
                text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
                if text not in choice.settings:
                    raise ValueError(f"switch {name!r} is one of {', '.join(choice.settings)}, not {value!r}")
                setattr(self, name, text)
                return
        for amount in AMOUNTS:
            if amount.name == name:
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= amount.most:
                    raise ValueError(f"switch {name!r} is a number from 0 to {amount.most:g}, not {value!r}")
                setattr(self, name, float(value))
                return
        raise ValueError(f"there is no switch {name!r}; GET /_emulator/switches lists them")

    def show(self) -> jsons.Object:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def draw(rng: Random, *, fixed: frozenset[str] = frozenset({"test_token"})) -> Switches:
    """Settings that a client can't rule out, picked at random; `fixed` stay at their default."""
    switches = Switches()
    for choice in CHOICES:
        if choice.name not in fixed:
            setattr(switches, choice.name, rng.choice(choice.settings))
    for amount in AMOUNTS:
        if amount.name not in fixed:
            setattr(switches, amount.name, float(rng.choice(amount.draws)))
    return switches


def describe() -> list[jsons.Object]:
    listed: list[jsons.Object] = [
        {"name": choice.name, "settings": list(choice.settings), "default": choice.settings[0], "says": choice.says}
        for choice in CHOICES
    ]
    defaults = Switches().show()
    listed += [
        {
            "name": amount.name,
            "settings": f"0 to {amount.most:g}",
            "default": defaults[amount.name],
            "says": amount.says,
        }
        for amount in AMOUNTS
    ]
    return listed


_ALL: tuple[Choice | Amount, ...] = (*CHOICES, *AMOUNTS)
for _switch in _ALL:
    behaviour(
        f"switch.{_switch.name}",
        page="Unpublished behaviour",
        section="Switches",
        provenance=Provenance.ASSUMED,
        says=_switch.says,
    )
