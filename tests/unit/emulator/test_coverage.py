"""Every behaviour is claimed by a test, and every claim is of a behaviour that exists."""

from hack.emulator import coverage, documented


def test_every_behaviour_is_claimed() -> None:
    assert coverage.generate()
    unclaimed = sorted(set(documented.REGISTRY) - set(coverage.claims()))
    assert unclaimed == [], "behaviours that no test claims"


def test_every_claim_is_of_a_behaviour() -> None:
    assert coverage.generate()
    unknown = sorted(set(coverage.claims()) - set(documented.REGISTRY))
    assert unknown == [], "claims of behaviours that do not exist"


def test_the_page_names_tests_and_what_is_missing() -> None:
    page = coverage.generate()
    assert "test_uploads::test_a_replace_upload_deletes_what_the_file_lacks" in page
    assert "Product sets" in page
    assert page == coverage.generate()
