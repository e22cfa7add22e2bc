"""Paths of rows: what they lead to, what they refuse, and what they tell of statements they went through."""

from types import SimpleNamespace
from typing import Any

import pytest

from mappings.cda.document import parse
from mappings.cda.paths import parse_paths, reader
from tests.mappings.cda.documents import wrapped

FRAGMENT = """<observation classCode="OBS" moodCode="EVN">
  <templateId root="1.2.3" extension="2015"/><templateId root="1.2.4"/>
  <code code="A" codeSystem="9"/><code code="B" codeSystem="9"/>
  <effectiveTime><low value="2020"/><high nullFlavor="UNK"/></effectiveTime>
  <x:value xmlns:x="urn:hl7-org:v3" xsi:type="x:PQ" value=" 1 " unit="mg"/>
  <sdtc:raceCode code="R"/>
  <entryRelationship typeCode="REFR"><observation><code code="33999-4"/><value code="S1"/></observation>
  </entryRelationship>
  <entryRelationship typeCode="MFST"><observation><code code="X"/><value code="S2"/></observation></entryRelationship>
</observation>"""


@pytest.fixture
def standing() -> Any:
    doc = parse(wrapped(FRAGMENT))
    statement = next(doc.root.iter("{urn:hl7-org:v3}observation"))
    ctx = SimpleNamespace(doc=doc, read=set(), statement=statement, act=None, section=None)
    return SimpleNamespace(ctx=ctx, statement=statement)


def found(standing: Any, path: str) -> list[str]:
    """What a path leads to: codes, values or texts."""
    (ref,) = parse_paths(path)
    read = reader(ref)(standing.statement, standing.ctx)
    return [each if isinstance(each, str) else each.get("code") or each.get("value") or each.tag for each in read]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("code", ["A", "B"]),
        ("code/@code", ["A", "B"]),
        ("effectiveTime/low/@value", ["2020"]),
        ("effectiveTime/high/@nullFlavor", ["UNK"]),
        ("value/@value", ["1"]),  # blanks of an attribute say nothing
        ("value[@xsi:type='PQ']/@unit", ["mg"]),  # whatever prefix the sender bound
        ("sdtc:raceCode", ["R"]),
        ("raceCode", []),
        ("entryRelationship/observation/value", ["S1", "S2"]),
        ("entryRelationship/observation[code='33999-4']/value", ["S1"]),
        ("entryRelationship/observation[code='33999-4|X']/value", ["S1", "S2"]),
        ("entryRelationship/observation[code!='33999-4']/value", ["S2"]),
        ("entryRelationship[@typeCode='MFST']/observation/value", ["S2"]),
        ("entryRelationship[@typeCode!='MFST']/observation/value", ["S1"]),
        (".[tid='1.2.4']", None),
        ("../*[tid='1.2.4']/code", ["A", "B"]),
        ("../*[tid='1.2.5']/code", []),
        ("entryRelationship[observation/code]/observation/value", ["S1", "S2"]),
        ("^act/statusCode", []),
        ("^statement/code", ["A", "B"]),
        ("^header/effectiveTime/@value", ["20260301120000+0100"]),
    ],
)
def test_a_path_leads_where_it_says(standing: Any, path: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="path is not understood"):
            parse_paths(path)
    else:
        assert found(standing, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a//b",
        "@code/x",
        "a[",
        "a[b",
        "a[@x=1]",
        "a[@x='']",
        "^somewhere/x",
        "a b",
        "^act",
        "x:y",
        "a[code='1' or b]",
    ],
)
def test_what_is_no_path_stops_the_start(path: str) -> None:
    if not path:
        assert parse_paths(path) == ()
        return
    with pytest.raises(ValueError, match=r"path|predicate"):
        parse_paths(path)


def test_alternatives_split_outside_of_predicates() -> None:
    assert [str(ref) for ref in parse_paths("a[code='1|2']/b|c")] == ["a[code='1|2']/b", "c"]


def test_all_elements_go_to_one_function() -> None:
    (ref,) = parse_paths("effectiveTime[*]")
    assert ref.all
    assert ref.steps[0].name == "effectiveTime"


def test_only_statements_that_led_to_something_count_as_read(standing: Any) -> None:
    found(standing, "entryRelationship/observation[code='33999-4']/value")
    (read,) = standing.ctx.read
    assert read.short == "observation"
    assert read.kids["value"][0].get("code") == "S1"
    found(standing, "entryRelationship/observation/interpretationCode")
    assert len(standing.ctx.read) == 1
