"""`docs/mappings.md` says what the tables say: it is written from them, and a change of theirs is a change of it."""

import csv

from tools import crosswalk, mappings_page
from tools.mappings_page import HL7V2, PAGE, page, segments_of


def test_the_page_is_up_to_date() -> None:
    """Else run `python -m tools.mappings_page`."""
    assert PAGE.read_text("utf-8") == page()


def test_every_structure_stands_on_the_page() -> None:
    with (HL7V2 / "structures.csv").open(encoding="utf-8", newline="") as file:
        structures = {row["structure"] for row in csv.DictReader(file)}
    text = PAGE.read_text("utf-8")
    assert {name for name in structures if f"| {name} |" not in text} == set()


def test_every_sheet_of_the_guide_has_its_numbers() -> None:
    text = PAGE.read_text("utf-8")
    sheets = {line.sheet for line in crosswalk.read() if line.sheet and line.row != "*"}
    assert {sheet for sheet in sheets if f"| {sheet} |" not in text} == set()


def test_the_standard_s_own_segments_limit_what_a_structure_is_said_to_make() -> None:
    assert "PID" in segments_of("ADT_A01")
    assert "PV1" in segments_of("ORU_R01"), "segments within groups count"
    assert "IN1" not in segments_of("ADT_A12")
    assert mappings_page.segments_of("ZZZ_Z99") == frozenset()
