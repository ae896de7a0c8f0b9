"""Problems and the fields they name."""

import pytest

from controller.meta import wire
from controller.meta.problems import named_field, severity_of, single_field, upload_problems
from controller.ports.meta import Problem


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Unrecognised field: A request for item A-1 contains unrecognised field: 'colour'", "colour"),
        ("A required field is missing: price.", "price"),
        (
            'A required field is missing: Products need availability. Add it under the "availability" column.',
            "availability",
        ),
        (
            "These fields have missing information: discover by providing google_product_category information.",
            "google_product_category",
        ),
        ("Group Mismatch for Property: shipping.", "shipping"),
        ("Price Without Currency for Property: shipping_price_value, shipping_price_currency", "shipping"),
        ("(#100) Param image_url is not a valid URI.", "image_link"),
        ("(#100) The parameter price is required", "price"),
        ("Product has the attribute 'URL' in unsupported format.", "link"),
        ("The sale_price must be below the price", "sale_price"),
        ("custom_label_0 is longer than custom_label_1", None),
        ("URL Incorrectly Formatted: The provided URL is formatted incorrectly.", None),
        ("Invalid data for Property: price, brand", None),
        ("Descriptions are missing", None),
        ("A required field is missing: Products need to have price listed to run in ads.", "price"),
        ('Invalid price: "cheap" is not a price.', "price"),
        ("Invalid sale_price", "sale_price"),
        ("Invalid data: x", None),
        ('Unsupported value: "x" is not supported for gender. Supported values: "female"', "gender"),
        ("Field is too long: title must not be longer than 200 characters; this one has 201.", "title"),
        ("Field is too long: it must not be longer", None),
        ("Something about file_names", None),
        ("", None),
    ],
)
def test_field_that_a_message_names(message: str, field: str | None) -> None:
    assert named_field(message) == field


@pytest.mark.parametrize(
    ("cell", "field"),
    [("price", "price"), ("['image_url']", "image_link"), ("price, brand", None), ("", None), ("price,price", "price")],
)
def test_cell_that_lists_fields(cell: str, field: str | None) -> None:
    assert single_field(cell) == field


@pytest.mark.parametrize(
    ("text", "severity"),
    [("fatal", "fatal"), ("FATAL", "fatal"), (" WARNING ", "warning"), ("severe", "fatal"), ("", "fatal")],
)
def test_unknown_severity_is_fatal(text: str, severity: str) -> None:
    assert severity_of(text) == severity


def test_samples_name_rows_and_the_rest_is_counted() -> None:
    error = wire.UploadError(summary="A required field is missing: price.", description="Add it.", total_count=5)
    samples = [wire.Sample(retailer_id=name) for name in ("a", "b", "a", None)]
    text = "A required field is missing: price. Add it."
    assert upload_problems(error, samples) == (
        Problem("fatal", text, "a", "price"),
        Problem("fatal", text, "b", "price"),
        Problem("fatal", text, None, "price", 3),
    )


def test_error_without_samples_stands_for_the_file_or_its_count() -> None:
    warning = wire.UploadError(summary="Odd", severity="warning")
    assert upload_problems(warning, ()) == (Problem("warning", "Odd"),)
    assert upload_problems(wire.UploadError(summary="Odd", total_count=7), ()) == (Problem("fatal", "Odd", count=7),)
