"""What became of the guide's rows is told of every one of them, and what is told is true.

The checks against the guide's own tables need them (CHARTBRIDGE_STANDARDS) and carry the marker `corpus`. Source:
design chapter HL7 v2 §1, §16.
"""

from collections import Counter
from pathlib import Path

import pytest

from mappings.hl7v2 import registry
from mappings.hl7v2.registry import crosswalk
from mappings.rows.condition import fields_of, parse_condition
from mappings.rows.table import parse_source
from mappings.terminology import concept_map, tables
from tests.mappings.hl7v2.messages import default
from tools import crosswalk as tool
from tools import guide

LINES = tool.read()
OWN = [line for line in LINES if not line.sheet]
GUIDE = [line for line in LINES if line.sheet]
HEADER = Path(tool.FILE).read_text("utf-8").partition("\n")[0]

needs_guide = pytest.mark.skipif(not guide.available(), reason="no guide: set CHARTBRIDGE_STANDARDS")


def fields_read(row_id: str) -> set[str]:
    """The fields that a row of ours looks at."""
    row = default().maps.table[row_id]
    refs = [*parse_source(row.source), *(fields_of(parse_condition(row.when)) if row.when else ())]
    return {f"{ref.segment}-{ref.field}" for ref in refs}


def rules() -> set[str]:
    """`@name` of everything beside the rows that may do what a row of the guide asks for."""
    wiring = registry.wiring()
    return {f"@{name}" for name in (*wiring.rules, *wiring.after, *wiring.keys, *registry.resolvers())}


def test_fields_of_ours_stand_before_the_guide_s_rows_in_order() -> None:
    assert HEADER.split(",") == list(tool.COLUMNS)
    assert LINES == [*OWN, *GUIDE]
    assert sorted(crosswalk()) == sorted(line.field for line in OWN), "the reader stops at the first line of the guide"
    assert len({line.field for line in OWN}) == len(OWN)


def test_a_status_is_one_of_the_four_and_leaving_the_guide_has_a_reason() -> None:
    assert {line.status for line in GUIDE} <= set(tool.STATUSES)
    for line in GUIDE:
        assert bool(line.rows) == (line.status == "done") or line.status == "deviated", line
        assert line.why or line.status in ("done", "todo"), line


def test_what_does_a_row_exists_and_reads_its_field() -> None:
    functions, maps, known = registry.functions(), default().maps.rows.maps, rules()
    for line in GUIDE:
        for name in line.rows.split():
            if name in default().maps.table:
                assert default().maps.table[name].live, line
                if line.status == "done" and "-" in line.field:
                    assert line.field in fields_read(name), line
            else:
                table = tables.codes(name.removeprefix("table-"))
                assert table or name in functions or name in maps or name in known or name in concept_map.names(), line


@pytest.mark.corpus
@needs_guide
def test_every_ready_row_of_the_guide_is_there_and_none_is_invented() -> None:
    rows = [(row.sheet, str(row.number), row.field) for row in guide.rows()]
    codes = [(sheet, "*", "") for sheet in guide.sheets("codesystem")]
    assert [(line.sheet, line.row, line.field) for line in GUIDE] == rows + codes


@pytest.mark.corpus
@needs_guide
def test_the_guide_s_part_is_up_to_date() -> None:
    """`python -m tools.crosswalk` would write the same."""
    assert tool.guide_lines() == GUIDE


@pytest.mark.corpus
@needs_guide
def test_a_row_without_a_target_asks_for_nothing() -> None:
    wanted = {(row.sheet, str(row.number)) for row in guide.rows() if row.target}
    told = Counter(line.status for line in GUIDE if line.row != "*" and (line.sheet, line.row) not in wanted)
    assert set(told) == {"n/a"}
