"""`chartbridge map run|test|diff|unmapped`: trying a mapping before it goes live.

Source: operations chapter §1.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapter import samples
from tests.adapter.cli.command import Command
from tests.mappings.test_embedded import SUMMARY

ADMISSION = samples.folder() / "adt-a01-admission.hl7"
UPDATE = samples.folder() / "adt-a08-update.hl7"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "segments").mkdir(parents=True)
    (made / "profile.toml").write_text('name = "site"\nextends = "default"\nnamespace = "urn:chartbridge:default"\n')
    return made


def overlay(profile: Path, row: str) -> None:
    head = "id,source,when,target,type,vocab,value,note"
    (profile / "segments" / "PID.Patient.csv").write_text(f"{head}\n{row}\n")


GENDER_OFF = "PID.Patient:8a,PID-8,never,gender,CWE[code],v2-0001.administrative-gender,,"


def test_run_writes_one_bundle_a_line_and_stores_nothing(plain: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.hl7"
    bad.write_bytes(b"not a message")
    tried = plain("map", "run", ADMISSION, bad, UPDATE)
    bundles = [json.loads(line) for line in tried.out.splitlines()]
    assert [each["resourceType"] for each in bundles] == ["Bundle", "Bundle"]
    assert tried.code == 8
    assert str(bad) in tried.err
    assert plain("map", "run", bad).code == 1
    assert plain("map", "run").code == 2


def test_diff_names_what_an_overlay_takes_away(plain: Command, profile: Path) -> None:
    same = plain("map", "diff", "default", profile, ADMISSION, json=True)
    assert (same.code, same.out) == (0, "")
    overlay(profile, GENDER_OFF)
    worse = plain("map", "diff", "default", profile, ADMISSION, json=True)
    assert worse.code == 1
    verdict, *changes = worse.objects()
    assert verdict["verdict"] == "worse"
    assert [(one["kind"], one["path"]) for one in changes if one["resource"].startswith("Patient/")] == [
        ("removed", "gender")
    ]
    assert "female" not in worse.out
    assert "female" in plain("map", "diff", "default", profile, ADMISSION, "--values").out


def test_diff_against_records_of_an_older_revision(plain: Command, profile: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    assert plain("map", "run", "--record", records, ADMISSION, UPDATE).code == 0
    assert len(list(records.iterdir())) == 2
    assert plain("map", "diff", records, "default", ADMISSION, UPDATE).code == 0
    overlay(profile, GENDER_OFF)
    assert plain("map", "diff", records, profile, ADMISSION).code == 1
    other = samples.folder() / "adt-a02-transfer.hl7"
    assert plain("map", "diff", records, "default", other).code == 2, "no record of it"
    assert plain("map", "run", "--record", records, ADMISSION, ADMISSION).code == 2


def test_a_profile_is_held_against_its_fixtures_and_its_rows_against_them_too(plain: Command, profile: Path) -> None:
    (profile / "fixtures").mkdir()
    shutil.copy(ADMISSION, profile / "fixtures" / "admission.hl7")
    assert plain("map", "test", profile).code == 1, "nothing is recorded yet"
    assert plain("map", "test", profile, "--write").code == 0
    assert plain("map", "test", profile).code == 0
    overlay(profile, GENDER_OFF)
    told = plain("map", "test", profile, json=True)
    assert told.code == 1
    assert told.objects()[0]["state"] == "differs"
    overlay(profile, "PID.Patient:90,PID-27,,extension(urn:oid:2.999.7).valueString,CWE[string],,,never sent")
    silent = plain("map", "test", profile, json=True)
    assert silent.code == 1
    assert [one.get("row") for one in silent.objects()][-1] == "PID.Patient:90"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "summary.xml"
    path.parent.mkdir()
    path.write_bytes(SUMMARY)
    return path


def test_a_document_is_explained_with_path_and_line_and_what_became_of_its_statements(
    plain: Command, document: Path
) -> None:
    told = plain("map", "explain", document, json=True)
    assert told.code == 0
    by_schema: dict[str, list[Any]] = {}
    for one in told.objects():
        by_schema.setdefault(one["schema"], []).append(one)
    facts, (counted,) = by_schema["chartbridge.map.explain/1"], by_schema["chartbridge.map.tally/1"]
    (fact,) = (one for one in facts if one["path"].endswith("#onsetDateTime"))
    assert (fact["row"], fact["line"] > 1, "value" in fact) == ("allergy.AllergyIntolerance:onset", True, False)
    assert fact["place"].startswith("section[48765-2]/entry[1]/act/")
    assert counted["tally"]["statements"] == sum(counted["tally"].values()) / 2 == 2
    assert {"unmapped", "line", "reason"} <= by_schema["chartbridge.map.unmapped/1"][0].keys()
    assert "Nuts" not in told.out
    assert "Nuts" in plain("map", "explain", document, "--values").out
    some = plain("map", "explain", document, "--path", "AllergyIntolerance.code", json=True).objects()
    assert {each["path"].split("#")[1].split(".")[0] for each in some if "path" in each} == {"code"}
    within = plain("map", "explain", document, "--place", "section[48765-2]/entry[1]", json=True).objects()
    assert all(each["place"].startswith("section[48765-2]/entry[1]") for each in within if "place" in each)


def test_verbs_of_map_take_documents_and_messages_together(plain: Command, document: Path) -> None:
    torn = document.with_name("torn.xml")
    torn.write_bytes(SUMMARY[:-20])
    shutil.copy(ADMISSION, document.parent)
    folder = document.parent
    run = plain("map", "run", folder)
    assert (run.code, len(run.out.splitlines())) == (8, 2)
    assert "not-xml at document line" in run.err
    lint = plain("map", "lint", document, torn, json=True)
    assert (lint.code, [Path(one["file"]).name for one in lint.objects()]) == (1, ["torn.xml"])
    assert plain("map", "lint", document).code == 0
    places = plain("map", "unmapped", folder, json=True).objects()
    assert {one["place"].partition("[")[0] for one in places} >= {"section"}
    assert plain("map", "codes", folder).code == 0
    assert plain("map", "diff", "default", "default", document).code == 0
    rows = plain("map", "coverage", document, json=True).objects()
    assert {one["source"].split("/")[0] for one in rows} == {"entries"}, "no row for messages: there is none"


def test_a_document_is_a_fixture_and_rows_for_documents_are_covered_by_it(plain: Command, profile: Path) -> None:
    (profile / "fixtures").mkdir()
    (profile / "fixtures" / "summary.xml").write_bytes(SUMMARY)
    assert plain("map", "test", profile).code == 1, "nothing is recorded yet"
    assert plain("map", "test", profile, "--write").code == 0
    assert plain("map", "test", profile).code == 0
    (profile / "entries").mkdir()
    head = "id,source,when,target,type,vocab,value,note"
    rows = profile / "entries" / "allergy.AllergyIntolerance.csv"
    rows.write_text(f"{head}\nallergy.AllergyIntolerance:onset,effectiveTime/low,never,onsetDateTime,TS[dateTime],,,\n")
    told = plain("map", "test", profile, json=True)
    assert (told.code, told.objects()[0]["state"]) == (1, "differs")
    row = "allergy.AllergyIntolerance:own,methodCode,,extension(urn:oid:2.999.7).valueString,CD[string],,,never sent"
    rows.write_text(f"{head}\n{row}\n")
    silent = plain("map", "test", profile, json=True)
    assert silent.code == 1
    assert [one.get("row") for one in silent.objects()][-1] == "allergy.AllergyIntolerance:own"


def test_every_profile_with_fixtures_is_tested_where_none_is_named(plain: Command) -> None:
    tested = plain("map", "test", json=True)
    assert tested.code == 0
    assert {(one["profile"], one["state"]) for one in tested.objects()} == {
        ("eu-hospital", "same"),
        ("us-laboratory", "same"),
    }
    assert plain("map", "test", "--write").code == 2, "records are written of what is named"


def test_a_site_s_profiles_are_tested_with_the_shipped_ones(command: Command) -> None:
    assert command.site is not None
    for name in ("own", "us-laboratory"):  # the second stands for the shipped one
        folder = command.site / "profiles" / name
        (folder / "fixtures").mkdir(parents=True)
        (folder / "profile.toml").write_text(f'name = "{name}"\nextends = "default"\nnamespace = "urn:oid:2.999.1"\n')
        shutil.copy(ADMISSION, folder / "fixtures" / "admission.hl7")
    tested = command("map", "test", json=True)
    assert tested.code == 1, "the site's are not recorded"
    states = [(one["profile"], one["state"]) for one in tested.objects()]
    assert states == [("eu-hospital", "same")] * (len(states) - 2) + [
        ("own", "unrecorded"),
        ("us-laboratory", "unrecorded"),
    ]


def test_unmapped_counts_places_and_shows_no_content(plain: Command) -> None:
    found = plain("map", "unmapped", samples.folder(), json=True)
    rows = found.objects()
    assert found.code == 0
    assert rows == sorted(rows, key=lambda row: (-row["messages"], row["place"], row["reason"]))
    assert {row["reason"] for row in rows} >= {"no-row", "condition-false"}
    assert "Demo" not in found.out


def test_what_a_feed_received_is_read_and_the_act_recorded(command: Command) -> None:
    before = command("ledger", "status", json=True).objects()[0]["size"]
    counted = command("map", "unmapped", "--feed", "main", json=True)
    assert counted.code == 0
    assert command("ledger", "status", json=True).objects()[0]["size"] == before + 1
    tried = command("map", "diff", "default", "default", "--feed", "main")
    assert (tried.code, tried.out) == (0, "")
    assert command("map", "unmapped", "--feed", "nowhere").code == 5
    assert command("map", "unmapped", "--feed", "main", ADMISSION).code == 2


def test_codes_nobody_mapped_are_listed_and_can_be_had_as_an_empty_map(plain: Command, tmp_path: Path) -> None:
    message = tmp_path / "local.hl7"
    text = (samples.folder() / "oru-r01-chemistry.hl7").read_text().replace("2345-7^Glucose^LN", "GLU^Glucose^99LAB")
    message.write_text(text)
    (row,) = [row for row in plain("map", "codes", message, json=True).objects() if row["code"] == "GLU"]
    assert (row["field"], row["reason"], row["messages"]) == ("OBX-3", "local", 1)
    table = plain("map", "codes", message, "--csv", row["system"]).out.splitlines()
    assert table[0].startswith("code,target,system")
    assert table[1].startswith("GLU,")
    assert "Demo" not in plain("map", "codes", message).out


def test_a_profile_of_the_site_is_known_by_its_name(command: Command) -> None:
    assert command("map", "lint", "--profile", "strict").code == 0
    assert command("map", "diff", "default", "strict", ADMISSION).code in (0, 1)
    assert command("map", "lint", "--profile", "nowhere").code == 3
