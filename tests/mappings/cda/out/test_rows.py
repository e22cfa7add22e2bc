"""The rows of outbound documents: checked whole when they are loaded, each fault by its row.

Source: design chapter CDA §16; POCD_MT000040.
"""

from pathlib import Path

import pytest

from mappings.cda.out.classes import classes
from mappings.cda.out.rows import maps, read_maps
from mappings.cda.out.sections import columns, section_row, sections
from mappings.cda.out.targets import parse_target
from mappings.cda.out.writers import WRITERS
from mappings.cda.templates import templates
from mappings.outbound.errors import OutboundError

HEAD = "id,kind,source,when,target,type,vocab,value,says,note"
NAME = "header.ClinicalDocument"


def test_the_shipped_rows_are_right() -> None:
    assert len(maps()) > 70


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x:1,,,,id,=,,x,,", "no row of header.ClinicalDocument"),
        (f"{NAME}:1,us,,,id,=,,x,,", "no kind us"),
        (f"{NAME}:1,,title,,titel,ST,,,,", "ClinicalDocument has no titel"),
        (f"{NAME}:1,,title,,title,TS,,,,", "TS is no ST"),
        (f"{NAME}:1,,title,,author/time/value,TS,,,,", "time has no value"),
        (f"{NAME}:1,,title,,title,XY,,,,", "no writer XY"),
        (f"{NAME}:1,,,,title,ST,,,,", "no source"),
        (f"{NAME}:1,,title(,,title,ST,,,,", f"{NAME}:1"),
        (f"{NAME}:1,,,,id[root],=,,x,,", "not an attribute: root"),
        (f"{NAME}:1,,,,id,=,,@nothing,,", "no value @nothing"),
        (f"{NAME}:1,,type,,code,CE,no-such-map,,,", "no-such-map"),
        (f"{NAME}:1,,type,,author,rows[nothing],,,,", "no map nothing"),
        (f"{NAME}:1,,title,,title,ST,,,,\n{NAME}:1,,title,,title,ST,,,,", "two rows of this id"),
    ],
)
def test_a_row_that_cannot_be_right_stops_the_start(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / f"{NAME}.csv").write_text(f"{HEAD}\n{row}\n", "utf-8")
    with pytest.raises(OutboundError) as told:
        read_maps(tmp_path, _none(tmp_path))
    assert said in str(told.value)


def test_a_map_that_nothing_uses_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.csv").write_text(f"{HEAD}\n{NAME}:1,,title,,title,ST,,,,\n", "utf-8")
    (tmp_path / "lone.map.csv").write_text(f"{HEAD}\nlone.map:1,,,,id,=,,x,,\n", "utf-8")
    with pytest.raises(OutboundError, match=r"lone\.map: no row uses this map"):
        read_maps(tmp_path, _none(tmp_path))


def _none(folder: Path) -> Path:
    path = folder / "templates.txt"
    path.write_text("map,kind,root,extension,source\n", "utf-8")
    return path


def test_american_templates_are_of_release_2_1_and_known_to_the_package() -> None:
    """The OIDs are those of the CC0 package; the versions those of C-CDA R2.1 and its companion guide."""
    known = set(templates()) | {"2.16.840.1.113883.10.20.22.4.20", "2.16.840.1.113883.10.20.22.4.53"}
    for each in maps().values():
        for template in each.templates.get("ccd", ()):
            assert template.root in known, template.root
            assert template.extension in ("", "2014-06-09", "2015-08-01", "2019-06-20")


def test_sections_name_maps_and_tables_that_exist() -> None:
    for kind in ("ccd", "ehdsi-ps"):
        for row in sections(kind).values():
            assert row.map in maps()
            assert columns(row.table)
            assert row.unknown in maps() or not row.unknown
    assert section_row("ccd", "10183-2") is not None  # discharge medications: no template, the same entries
    assert section_row("ccd", "10164-2") is None  # a history in words


def test_writers_are_named_by_their_datatype() -> None:
    known = {child.type for children in classes().values() for child in children.values() if child.type}
    assert {name.partition(".")[0] for name in WRITERS} <= known | {"GTS", "CD", "II"}


@pytest.mark.parametrize("text", ["a b", "a[@b]", "a//b", "a[@b='c' or @d='e']", ""])
def test_a_target_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_target(text)
