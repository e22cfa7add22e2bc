"""The worked profiles: their fixtures still become what was recorded, and fire every row and hook they bring.

Source: design chapter HL7 v2 §12.
"""

from pathlib import Path

import pytest

from mappings import fixtures
from mappings.convert import load_profile, to_fhir
from mappings.hl7v2 import explain
from mappings.profile import PROFILES

WORKED = sorted(path.parent for path in PROFILES.glob("*/profile.toml") if path.parent.name != "default")
FIXTURES = [(folder, message) for folder in WORKED for message in fixtures.messages(folder)]


def test_there_are_two_worked_profiles() -> None:
    assert [folder.name for folder in WORKED] == ["eu-hospital", "us-laboratory"]


@pytest.mark.parametrize(("folder", "message"), FIXTURES, ids=[f"{f.name}-{m.stem}" for f, m in FIXTURES])
def test_a_fixture_becomes_what_was_recorded(folder: Path, message: Path) -> None:
    result = fixtures.check(message, load_profile(folder))
    assert (result.state, result.changes) == ("same", ())


@pytest.mark.parametrize("folder", WORKED, ids=lambda folder: folder.name)
def test_the_fixtures_fire_every_row_of_the_profile(folder: Path) -> None:
    profile = load_profile(folder)
    own = {row.id for row in profile.maps.table.values() if row.overlay == folder.name}
    found = explain.coverage([message.read_bytes() for message in fixtures.messages(folder)], profile)
    assert own
    assert own - found.fired == set()


def europe(name: str) -> bytes:
    return (PROFILES / "eu-hospital" / "fixtures" / f"{name}.hl7").read_bytes()


def test_bytes_of_iso_8859_1_become_letters_without_a_word_in_msh_18() -> None:
    (patient,) = [m.body for m in to_fhir(europe("admission"), load_profile("eu-hospital")).resources
                  if m.body["resourceType"] == "Patient"]  # fmt: skip
    assert patient["name"][0]["family"] == "Müßig"
    assert not europe("admission").isascii()


def test_a_local_code_keeps_its_own_system_and_gains_loinc() -> None:
    codings = [
        [(each["system"], each["code"]) for each in m.body["code"]["coding"]]
        for m in to_fhir(europe("laboratory"), load_profile("eu-hospital")).resources
        if m.body["resourceType"] == "Observation"
    ]
    assert [("urn:oid:2.999.10.20", "GLU"), ("http://loinc.org", "2345-7")] in codings
    assert [("urn:oid:2.999.10.20", "TSHX")] in codings, "what the map does not know stays"


def test_what_the_filter_names_is_not_mapped() -> None:
    found = to_fhir(europe("billing"), load_profile("eu-hospital"))
    assert (found.filtered, found.resources) == ("no-billing", ())
    told = explain.explain(europe("billing"), load_profile("eu-hospital"))
    assert (told.facts, told.unmapped) == ((), ())


def test_several_races_are_one_extension_by_the_hook() -> None:
    data = (PROFILES / "us-laboratory" / "fixtures" / "two-races.hl7").read_bytes()
    (patient,) = [m.body for m in to_fhir(data, load_profile("us-laboratory")).resources
                  if m.body["resourceType"] == "Patient"]  # fmt: skip
    (race,) = patient["extension"]
    assert [each["url"] for each in race["extension"]] == ["ombCategory", "ombCategory", "text"]
