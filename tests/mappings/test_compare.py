"""Records and what changed between two of them; fixtures of a profile.

Source: operations chapter §1 (`map test`, `map diff`).
"""

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from mappings import fixtures
from mappings.compare import compare
from mappings.convert import load_profile, to_fhir
from mappings.record import record
from tests.mappings.hl7v2.messages import SAMPLES, default, obr, obx, oru

Json = dict[str, object]
SAMPLE = next(path for path in SAMPLES if path.stem == "adt-a01-admission")
RECORD = record(to_fhir(SAMPLE.read_bytes(), default()))


def changed(edit: Callable[[list[dict[str, dict[str, object]]]], object], *, issues: list[str] | None = None) -> bytes:
    whole = msgspec.json.decode(RECORD)
    edit(whole["resources"])
    if issues is not None:
        whole["issues"] = issues
    return msgspec.json.encode(whole)


def patient(resources: list[dict[str, dict[str, object]]]) -> dict[str, object]:
    return next(each["body"] for each in resources if each["body"]["resourceType"] == "Patient")


def test_a_reason_that_goes_when_the_value_comes_is_no_loss() -> None:
    """A zone was added to the profile: times are told, the words that stood for them are not."""
    old = changed(
        lambda found: patient(found).update(_deceasedDateTime={"extension": [{"url": "x", "valueString": "y"}]})
    )
    new = changed(lambda found: patient(found).update(deceasedDateTime="2025-01-02T03:04:05+01:00"))
    assert compare(old, new).verdict == "changed"


def test_equal_records_are_unchanged() -> None:
    assert compare(RECORD, RECORD).verdict == "unchanged"
    assert compare(RECORD, changed(lambda resources: None)).changes == (), "the layout of a record says nothing"
    assert compare(None, None).verdict == "unchanged"


@pytest.mark.parametrize(
    ("edit", "verdict"),
    [
        (lambda found: patient(found).update(gender="male"), "changed"),
        (lambda found: patient(found).update(active=True), "changed"),
        (lambda found: patient(found).pop("gender"), "worse"),
        (lambda found: found.pop(), "worse"),
        (lambda found: found.append({"mode": "stub", "body": {"resourceType": "Location", "id": "1"}}), "changed"),
        (lambda found: found[0].update(mode="stub"), "changed"),
    ],
    ids=["another value", "a value more", "a value gone", "a resource gone", "a resource more", "another mode"],
)
def test_what_is_gone_is_worse_and_what_is_new_is_not(
    edit: Callable[[list[dict[str, dict[str, object]]]], object], verdict: str
) -> None:
    assert compare(RECORD, changed(edit)).verdict == verdict


def test_a_new_issue_is_worse_unless_it_only_informs_and_one_that_is_gone_is_not() -> None:
    known = msgspec.json.decode(RECORD)["issues"]

    def same(resources: object) -> None:
        """No resource is changed."""

    assert compare(RECORD, changed(same, issues=[*known, "not-a-date PID-7"])).verdict == "worse"
    assert compare(RECORD, changed(same, issues=[*known, "no-row PID-10"])).verdict == "changed"
    assert compare(RECORD, changed(same, issues=known[1:])).verdict == "changed"
    assert compare(RECORD, changed(same, issues=list(reversed(known)))).verdict == "unchanged"


def test_a_message_that_no_longer_converts_is_worse_and_the_other_way_is_not() -> None:
    assert compare(RECORD, None).verdict == "worse"
    assert compare(None, RECORD).verdict == "changed"


def result(value: str) -> bytes:
    return record(oru(obr(), obx(value)))


def test_a_number_is_itself_however_it_was_written() -> None:
    tiny, other = (result("0.0000001"), result("0.0000002"))
    assert compare(tiny, tiny).verdict == "unchanged"
    (change,) = [each for each in compare(tiny, other).changes if each.path == "valueQuantity.value"]
    assert (Decimal(change.old), Decimal(change.new)) == (Decimal("1E-7"), Decimal("2E-7"))


def test_a_change_names_its_resource_and_path() -> None:
    (change,) = compare(RECORD, changed(lambda found: patient(found).update(gender="male"))).changes
    assert (change.kind, change.path, change.old, change.new) == ("changed", "gender", "female", "male")
    assert change.resource.startswith("Patient/")


def site(folder: Path, hooks: str = "") -> Path:
    made = folder / "site"
    (made / "fixtures").mkdir(parents=True, exist_ok=True)
    (made / "profile.toml").write_text('name = "site"\nextends = "default"\nnamespace = "urn:oid:2.999.1"\n')
    if hooks:
        (made / "hooks.py").write_text(hooks)
    shutil.copy(SAMPLE, made / "fixtures" / "admission.hl7")
    return made


def test_a_fixture_is_unrecorded_then_written_then_the_same_then_differs(tmp_path: Path) -> None:
    made = site(tmp_path)
    (message,) = fixtures.messages(made)
    loaded = load_profile(made)
    assert fixtures.check(message, loaded).state == "unrecorded"
    assert fixtures.check(message, loaded, write=True).state == "written"
    assert fixtures.check(message, loaded).state == "same"
    message.with_suffix(".json").write_bytes(changed(lambda found: patient(found).pop("gender")))
    result = fixtures.check(message, loaded)
    assert (result.state, result.failed) == ("differs", True)


def test_a_fixture_whose_conversion_is_no_function_of_its_bytes_fails(tmp_path: Path) -> None:
    hooks = (
        "from dataclasses import replace\nseen = []\n\ndef after(conversion):\n"
        "    seen.append(1)\n    return replace(conversion, resources=conversion.resources[: -len(seen)])\n"
    )
    made = site(tmp_path, hooks)
    assert fixtures.check(fixtures.messages(made)[0], load_profile(made)).state == "unsteady"


def test_a_fixture_that_becomes_an_invalid_resource_is_never_recorded(tmp_path: Path) -> None:
    hooks = "def after(conversion):\n    conversion.resources[-1].body['status'] = 'no such status'\n"
    made = site(tmp_path, hooks)
    result = fixtures.check(fixtures.messages(made)[0], load_profile(made), write=True)
    assert result.state == "invalid"
    assert not (made / "fixtures" / "admission.json").exists()


def test_a_fixture_that_is_no_message_is_unreadable(tmp_path: Path) -> None:
    made = site(tmp_path)
    (made / "fixtures" / "admission.hl7").write_bytes(b"PID|1")
    assert fixtures.check(fixtures.messages(made)[0], load_profile(made)).state == "unreadable"
