"""A profile's hooks: what a site may do in Python, and what it costs when it goes wrong.

Source: design chapter HL7 v2 §3, §12.
"""

from pathlib import Path

import pytest

from mappings.convert import Profile, load_profile, patient_keys, to_fhir
from mappings.hl7v2.explain import explain
from mappings.hooks import HookFailed, HookFault
from mappings.record import record
from tests.mappings.hl7v2.messages import MR, header, message

DATA = message(header("ADT^A08"), "EVN|A08|20250304081500+0100", f"PID|1||4711{MR}||DEMO^Ana", "ZXX|1|local")

LOWER_NAMES = """
from mappings.hl7v2.message import edited

def before(message):
    return edited(message, [line.replace("DEMO", "Demo") for line in (each.line for each in message.segments)])
"""

MARKED = """
from dataclasses import replace

def after(conversion):
    resources = tuple(one for one in conversion.resources if one.body["resourceType"] != "Provenance")
    return replace(conversion, resources=resources)
"""


def profile(folder: Path, hooks: str, name: str = "site", extra: str = "") -> Profile:
    folder = folder / name
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(
        f'name = "{name}"\nextends = "default"\nnamespace = "urn:oid:2.999.1"\n{extra}'
    )
    (folder / "hooks.py").write_text(hooks)
    return load_profile(folder)


def patient(loaded: Profile, data: bytes = DATA) -> dict[str, object]:
    (found,) = [m.body for m in to_fhir(data, loaded).resources if m.body["resourceType"] == "Patient"]
    return found


def test_a_hook_before_changes_what_is_read_and_not_what_was_received(tmp_path: Path) -> None:
    loaded = profile(tmp_path, LOWER_NAMES)
    plain = load_profile("default")
    assert patient(loaded)["name"] == [{"family": "Demo", "given": ["Ana"]}]
    assert to_fhir(DATA, loaded).digest == to_fhir(DATA, plain).digest
    assert {m.body["resourceType"] for m in to_fhir(DATA, loaded).resources} >= {"Patient", "Provenance"}
    assert all(fact.bytes is None for fact in explain(DATA, loaded).facts), "places of an edited text have no bytes"
    assert any(fact.bytes for fact in explain(DATA, plain).facts)


def test_a_hook_after_changes_what_is_handed_out(tmp_path: Path) -> None:
    loaded = profile(tmp_path, MARKED)
    assert "Provenance" not in {m.body["resourceType"] for m in to_fhir(DATA, loaded).resources}


def test_the_patients_named_at_receipt_are_those_of_the_hooked_message(tmp_path: Path) -> None:
    loaded = profile(tmp_path, LOWER_NAMES.replace('"DEMO", "Demo"', '"4711", "4712"'))
    assert [key.id for key in patient_keys(DATA, loaded)] == [patient(loaded)["id"]]
    assert patient(loaded)["id"] != patient(profile(tmp_path, LOWER_NAMES, "other"))["id"]


def test_hooks_of_all_layers_run_the_most_general_first(tmp_path: Path) -> None:
    profile(tmp_path, LOWER_NAMES.replace('"Demo"', '"Country"'), "country")
    inner = profile(tmp_path, LOWER_NAMES.replace('"DEMO", "Demo"', '"Country", "Site"'), "inner")
    (tmp_path / "inner" / "profile.toml").write_text(
        'name = "inner"\nextends = "country"\nnamespace = "urn:oid:2.999.1"\n'
    )
    inner = load_profile(tmp_path / "inner")
    assert patient(inner)["name"] == [{"family": "Site", "given": ["Ana"]}]


@pytest.mark.parametrize(
    "body",
    ["def before(message):\n    return 1 / 0", "def before(message):\n    return 'text'",
     "def after(conversion):\n    raise KeyError('Ana')", "def after(conversion):\n    return conversion.resources",
     "import dataclasses\ndef after(found):\n    return dataclasses.replace(found, resources=list(found.resources))"],
)  # fmt: skip
def test_a_hook_that_fails_costs_its_message_and_tells_no_content(tmp_path: Path, body: str) -> None:
    loaded = profile(tmp_path, body)
    with pytest.raises(HookFailed, match=r"hook-failed: site/hooks\.py") as failed:
        to_fhir(DATA, loaded)
    assert "Ana" not in str(failed.value)


def test_a_failing_hook_names_no_patient_at_receipt_and_stops_nothing(tmp_path: Path) -> None:
    assert patient_keys(DATA, profile(tmp_path, "def before(message):\n    return 1 / 0")) == ()


@pytest.mark.parametrize("body", ["def befor(message):\n    return None", "import nowhere_at_all", "def before(:"])
def test_a_hooks_file_that_offers_nothing_stops_the_start(tmp_path: Path, body: str) -> None:
    with pytest.raises(HookFault, match=r"site/hooks\.py"):
        profile(tmp_path, body)


def test_an_edited_message_keeps_its_header(tmp_path: Path) -> None:
    loaded = profile(
        tmp_path, LOWER_NAMES.replace("for line in", "for line in list(").replace("segments)])", "segments))[1:]])")
    )
    with pytest.raises(HookFailed):
        to_fhir(DATA, loaded)


def test_what_decides_a_mapping_is_in_its_revision(tmp_path: Path) -> None:
    plain = profile(tmp_path, LOWER_NAMES).revision
    assert profile(tmp_path, LOWER_NAMES).revision == plain
    assert profile(tmp_path, LOWER_NAMES + "\n").revision != plain
    assert profile(tmp_path, LOWER_NAMES, extra='zone = "Europe/Vienna"\n').revision != plain
    (tmp_path / "site" / "lab.csv").write_text("code,target,system,display,equivalence,note,source\n")
    mapped = profile(
        tmp_path, LOWER_NAMES, extra='codes.L = { system = "urn:oid:2.999.2", map = "lab.csv" }\n'
    ).revision
    (tmp_path / "site" / "lab.csv").write_text(
        "code,target,system,display,equivalence,note,source\nGLU,2345-7,http://loinc.org,Glucose,equal,,ours\n"
    )
    assert (
        profile(tmp_path, LOWER_NAMES, extra='codes.L = { system = "urn:oid:2.999.2", map = "lab.csv" }\n').revision
        != mapped
    )
    loaded = load_profile(tmp_path / "site")
    assert to_fhir(DATA, loaded).rows == loaded.revision
    assert record(to_fhir(DATA, loaded)) == record(to_fhir(DATA, loaded))
