"""The worklist of unmapped codes: what nobody mapped is on it, most frequent first; what somebody mapped is not."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.convert import Profile, load_profile
from mappings.hl7v2.codes import Unmapped, as_map, worklist
from tests.mappings.hl7v2.messages import MR, default, header, message, obr, obx

PROFILE = """
name = "site"
extends = "default"
namespace = "urn:oid:2.999.1"
codes.99LAB = { system = "urn:oid:2.999.1.6", map = "codes/lab.csv" }
"""
LAB = """code,target,system,display,equivalence,note,source
GLU,2345-7,http://loinc.org,,equivalent,,our laboratory
"""


def site(folder: Path) -> Profile:
    (folder / "codes").mkdir()
    (folder / "codes" / "lab.csv").write_text(LAB)
    (folder / "profile.toml").write_text(PROFILE)
    return load_profile(folder)


def result(code: str) -> bytes:
    return message(header("ORU^R01"), f"PID|1||4711{MR}", obr(), obx(code=code))


def patient(sex: str) -> bytes:
    return message(header(), f"PID|1||4711{MR}||Demo^Dora|||{sex}")


def test_what_is_seen_most_stands_first() -> None:
    found = worklist([patient("X"), patient("F"), patient("X"), patient("Y")], default())
    assert found == (
        Unmapped("PID-8", "", "X", "vocab-miss", 2, 2),
        Unmapped("PID-8", "", "Y", "vocab-miss", 1, 1),
    )


def test_a_local_code_leaves_the_list_when_the_profile_maps_it(tmp_path: Path) -> None:
    mapped, open_ = result("GLU^Glucose^99LAB"), result("K^Potassium^99LAB")
    assert [each.code for each in worklist([mapped, open_], default())] == ["GLU", "K"]
    assert worklist([mapped, open_], site(tmp_path)) == (Unmapped("OBX-3", "99LAB", "K", "local", 1, 1),)


def test_a_standard_code_beside_it_is_enough() -> None:
    assert worklist([result("GLU^Glucose^99LAB^2345-7^Glucose^LN")], default()) == ()


def test_the_list_becomes_a_map_to_be_filled_in(tmp_path: Path) -> None:
    found = worklist([result("K^Potassium^99LAB"), result("NA^Sodium^99LAB"), result("X^Other^98LAB")], site(tmp_path))
    rows = as_map(found, "99LAB")
    assert [row[0] for row in rows] == ["code", "K", "NA"]
    assert ",".join(rows[0]) == LAB.splitlines()[0]


def test_only_codes_are_shown() -> None:
    (found,) = worklist([result("K^Potassium of Dora^99LAB")], default())
    assert "Dora" not in str(found)


@given(st.lists(st.binary(max_size=80), max_size=3))
@settings(max_examples=30, deadline=None)
def test_bytes_that_are_no_message_are_passed_over(data: list[bytes]) -> None:
    assert worklist(data, default()) == ()
