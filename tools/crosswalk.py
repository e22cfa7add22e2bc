"""What became of each row of the HL7 v2-to-FHIR guide: writes the guide's part of `mappings/hl7v2/crosswalk.csv`.

    python -m tools.crosswalk            writes the file anew, prints the numbers
    python -m tools.crosswalk --list SHEET…   prints what is still to do

The file has two kinds of lines. Those without a sheet are ours and kept as they stand: fields without a row of their
own, and why. Those with a sheet are the guide's rows, and this program writes them: `done` where a row of ours reads
the same field and writes the same element, what `crosswalk_rows.csv` beside this file says where a machine cannot see
it (a rule does it, we leave the guide and why, it does not concern us and why), else `todo`.

Source: design chapter HL7 v2 §1, §16.
"""

import argparse
import csv
import fnmatch
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mappings.convert import load_profile
from mappings.hl7v2 import registry
from mappings.profile import Profile
from mappings.rows.condition import fields_of, parse_condition
from mappings.rows.table import Kind, Row, parse_source, parse_target
from mappings.rows.target import EXTENSION_BASE
from mappings.terminology import concept_map, tables
from tools import guide
from tools.guide import GuideRow

FILE = Path(__file__).parents[1] / "mappings" / "hl7v2" / "crosswalk.csv"
COLUMNS = ("field", "status", "why", "sheet", "row", "target", "rows")
JUDGED = Path(__file__).with_name("crosswalk_rows.csv")
JUDGED_COLUMNS = ("sheet", "field", "target", "status", "rows", "why")
STATUSES = ("done", "deviated", "n/a", "todo")
NO_TARGET = "the guide gives it no target"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: of a field of ours (no sheet), of a row of the guide."""

    field: str
    status: str
    why: str
    sheet: str = ""
    row: str = ""
    target: str = ""
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a person found: patterns (`*`) of sheet, field and target, and the verdict."""

    sheet: str
    field: str
    target: str
    status: str
    rows: str
    why: str

    def covers(self, row: GuideRow) -> bool:
        target = f"{row.target} {row.type}".strip() if row.kind == "message" else row.target
        pairs = ((row.sheet, self.sheet), (row.field, self.field), (target, self.target))
        return all(_like(text, pattern) for text, pattern in pairs)


def _like(text: str, pattern: str) -> bool:
    """A glob in which brackets stand for themselves: `PID[Patient]`."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


# what our rows do -----------------------------------------------------------------------------------------------------


@cache
def profile() -> Profile:
    return load_profile("default")


@dataclass(frozen=True, slots=True)
class Written:
    """A row of ours, ready to be compared: the fields it looks at, the elements it writes."""

    row: Row
    fields: frozenset[str]
    steps: tuple[tuple[str, str], ...]  # (element, url of an extension)
    resource: str


@cache
def written() -> tuple[Written, ...]:
    found = []
    for name, compiled in profile().maps.rows.maps.items():
        for row in compiled.rows:
            if row.live:
                found.append(_written(row, name, compiled.resource_type))
    return tuple(found)


def _written(row: Row, name: str, resource: str) -> Written:
    refs = list(parse_source(row.source))
    if row.when:
        refs += fields_of(parse_condition(row.when))
    steps: list[tuple[str, str]] = []
    for step in parse_target(row.target):
        nested = any(name == "extension" for name, _ in steps)  # an extension's parts have names, no URLs
        key = (step.key if nested else _url(step.key)) if step.kind is Kind.EXTENSION else step.kind.value
        steps.append((step.name.lstrip("_"), key))
    return Written(row, frozenset(f"{ref.segment}-{ref.field}" for ref in refs), tuple(steps), resource)


def _url(key: str) -> str:
    return key if ":" in key else EXTENSION_BASE + key


# the machine's verdict ------------------------------------------------------------------------------------------------


def propose(row: GuideRow, urls: Mapping[str, str]) -> tuple[str, str, str]:
    """(status, names of what does it, why) as far as a machine can see."""
    if not row.target:
        return "n/a", "", NO_TARGET
    if row.kind == "message":
        names = _wired(row)
    elif row.kind == "segment":
        names = _mapped(row, urls) or _ruled(row)
    else:
        names = _function(row)
    if names:
        return "done", " ".join(names), ""
    status, why = _own().get(row.field, ("", "")) if row.kind == "segment" else ("", "")
    if status == "n/a" and why != NO_TARGET:
        return "deviated", "", why  # what we say of the field holds for the guide's row of it
    return "todo", "", ""


@cache
def _own() -> dict[str, tuple[str, str]]:
    """Field → (status, why) of our own lines."""
    return {line.field: (line.status, line.why) for line in read() if not line.sheet}


def _ruled(row: GuideRow) -> list[str]:
    """The rule or datatype function that our line of the field names, where it has no row."""
    status, why = _own().get(row.field, ("", ""))
    if status != "rule":
        return []
    wiring, functions = registry.wiring(), registry.functions()
    words = re.findall(r"[A-Za-z_][\w\[\]()]*", why.partition(":")[0])
    rules = [f"@{word}" for word in words if word in wiring.rules or word in wiring.after]
    if row.resource != "DocumentReference":
        rules = [rule for rule in rules if not rule.startswith("@document")]
    return rules + [word for word in words if word in functions]


@cache
def _families() -> dict[str, str]:
    """Structure → family; by the event, too, for the guide has a sheet ADT_A11, which is no structure."""
    with FILE.with_name("structures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_event = {f"{row['message']}_{row['event']}": row["family"] for row in rows}
    return by_event | {row["structure"]: row["family"] for row in rows}


def _wired(row: GuideRow) -> list[str]:
    """Maps of the structure's family that read the segment into that resource."""
    segment, _, rest = row.type.partition("[")
    resource = rest.rstrip("]").partition("-")[0]
    family = profile().maps.families[_families().get(row.sheet, "kept")]
    return sorted(
        name
        for name in family.maps
        if resource
        and name[:3] == segment
        and profile().maps.rows[name].resource_type == resource
        and segment == row.field.rpartition(".")[2]
    )


def _mapped(row: GuideRow, urls: Mapping[str, str]) -> list[str]:
    """Rows of ours that look at the field and write the element, of the resource or of the one it refers to."""
    found = _writing(row, row.resource, guide.elements(row.target, row.resource), row.target, urls)
    if not found and (inner := _INNER.search(row.target)):
        path = f"{inner[2]}{inner[3] or ''}"
        found = _writing(row, inner[1], guide.elements(path, inner[1]), path, urls)
    return found


# condition(Condition.onsetDateTime)
_INNER = re.compile(r"\(\s*([A-Z][A-Za-z]+)(?:\[\d+\])?\.([\w.\[\]]+)(\([A-Z][a-z]+)?")


def _writing(row: GuideRow, resource: str, path: tuple[str, ...], target: str, urls: Mapping[str, str]) -> list[str]:
    url = next((urls[prefix] for prefix in _prefixes(target) if prefix in urls), "")
    return [
        each.row.id
        for each in written()
        if each.resource == resource
        and (row.field in each.fields or not _is_field(row.field))
        and (_is_field(row.field) or each.row.id.startswith(row.segment))
        and _same_path(path, each.steps, url)
        and _same_constant(row, each)
    ]


def _is_field(text: str) -> bool:
    return "-" in text


def _prefixes(target: str) -> list[str]:
    """The extensions on a path, outermost first: `extension[3]`."""
    parts = target.split(".")
    return [".".join(parts[: n + 1]) for n, part in enumerate(parts) if part.lstrip("_").startswith("extension")]


def _same_path(path: tuple[str, ...], steps: tuple[tuple[str, str], ...], url: str) -> bool:
    """Whether one path leads through the other. The extension's url, where the guide gives one, must be ours."""
    if not path:
        return False
    for name, (ours, kind) in zip(path, steps, strict=False):
        if name != ours and not (kind == "choice" and name.startswith(ours)):
            return False
        if ours == "extension":
            return kind == url
    return True


# Functions that say what kind of number a field holds, by table 0203
_TABLE_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_TYPED = {
    "EI[Identifier-Placer]": "PLAC", "EI[Identifier-Filler]": "FILL",
    "EIP[Identifier-PlacerAssignedIdentifier]": "PLAC", "EIP[Identifier-FillerAssignedIdentifier]": "FILL",
    "EI[Identifier-PlacerGroup]": "PGN", "EI[Identifier-FillerGroup]": "FGN",
}  # fmt: skip


def _same_constant(row: GuideRow, each: Written) -> bool:
    """A constant of the guide's is done by a constant that says the same, an extension's url by the extension."""
    if not row.assigned:
        return not (each.row.constant and _is_field(row.field) and not each.row.value.startswith("@"))
    if row.target.endswith("url"):
        return any(kind == row.assigned for _, kind in each.steps)
    if each.row.type in _TYPED:
        return row.assigned in (_TYPED[each.row.type], _TABLE_0203)
    if not each.row.constant and not each.row.value.startswith("?"):
        return False
    value = each.row.value.lstrip("?")
    system, _, rest = value.rpartition("#")
    code, _, display = rest.partition("|")
    if row.target.endswith("system"):
        return bool(system) and row.assigned.endswith(system.rpartition("/")[2])
    return row.assigned.casefold() in (code.casefold(), display.casefold())


# Sheets of the guide whose work a function of another name does
_ALIASES = {
    "CWE[Device]": "CWE[Reference(Device)]",
    "CWE[PractitionerRole]": "CWE[CodeableConcept]",
    "CX[RelatedPerson-Mother]": "CX[Identifier]",
    "EI[Condition]": "EI[Identifier]",
    "EI[Device-udiCarrier]": "EI[Reference(Device)]",
    "EI[Identifier-DefaultAssigner]": "EI[Identifier]",
    "EI[Identifier-Organization]": "EI[Identifier]",
    "EI[Procedure]": "EI[Identifier]",
    "FN[HumanName]": "XPN[HumanName]",
    "HD[MessageHeader.destination-endpoint]": "HD[url]",
    "HD[MessageHeader.destination-name]": "HD[string]",
    "HD[MessageHeader.source-endpoint]": "HD[url]",
    "HD[MessageHeader.source-name]": "HD[string]",
    "MSG[MessageHeader]": "MSG[Coding]",
    "NM[Quantity-LengthOfStay]": "NM[Duration.d]",
    "PT[Meta]": "PT[Coding]",
    "TQ[MedicationRequest]": "TQ[Timing-Drug]",
    "TQ[ServiceRequest]": "TQ[Timing-Drug]",
    "XCN[Annotation-Author]": "XCN[Reference(Practitioner)]",
    "XCN[PractitionerRole]": "XCN[Reference(Practitioner)]",
}


def _function(row: GuideRow) -> list[str]:
    """The datatype function of the sheet's name, or the one that does its work, that looks at the component."""
    names = (row.sheet, re.sub(r"\[(\w+)\]", r"[Reference(\1)]", row.sheet), _ALIASES.get(row.sheet, ""))
    component = row.field.rpartition(".")[2]
    found = registry.functions()
    return [
        name
        for name in names
        if name in found and component.isdigit() and ((reads := found[name].reads) is None or int(component) in reads)
    ]


# the file -------------------------------------------------------------------------------------------------------------


def judged() -> list[Judged]:
    with JUDGED.open(encoding="utf-8", newline="") as file:
        return [Judged(**{name: row[name] or "" for name in JUDGED_COLUMNS}) for row in csv.DictReader(file)]


def guide_lines() -> list[Line]:
    """A line for each row of the guide. A later verdict of ours stands over an earlier one and over the machine's."""
    verdicts = judged()
    used: set[Judged] = set()
    lines = []
    rows = list(guide.rows())
    for row in rows:
        status, names, why = propose(row, _extension_urls(rows, row.sheet, row.field))
        for each in verdicts:
            if row.target and each.covers(row):
                used.add(each)
                if status == "todo" or _is_exact(each, row):
                    status, names, why = each.status, each.rows, each.why
        lines.append(Line(row.field, status, why, row.sheet, str(row.number), _target(row), names))
    if idle := [each for each in verdicts if each not in used and each.sheet != "codesystem"]:
        sys.exit("\n".join(f"crosswalk_rows.csv: no such row: {each}" for each in idle))
    return lines + [_code_line(sheet, path, verdicts) for sheet, path in guide.sheets("codesystem").items()]


def _is_exact(each: Judged, row: GuideRow) -> bool:
    """A verdict that names sheet and field outright stands over the machine's."""
    return (each.sheet, each.field) == (row.sheet, row.field)


def _target(row: GuideRow) -> str:
    return f"{row.target} {row.type}".strip() if row.kind == "message" else row.target


_URLS: dict[tuple[str, str], dict[str, str]] = {}


def _extension_urls(rows: list[GuideRow], sheet: str, field: str) -> dict[str, str]:
    """`extension[3]` → url, as the rows of one field of one sheet assign them."""
    if not _URLS:
        for row in rows:
            here = _URLS.setdefault((row.sheet, row.field), {})
            if row.target.endswith(".url") and row.assigned:
                here.setdefault(row.target.removesuffix(".url"), row.assigned)
    return _URLS[sheet, field]


def _code_line(sheet: str, path: Path, verdicts: list[Judged]) -> Line:
    """A code system's sheet as one line: done by the concept maps that know all of its codes."""
    for each in verdicts:
        if each.sheet == "codesystem" and each.field == sheet:
            return Line("", each.status, each.why, sheet, "*", "", each.rows)
    codes = guide.codes(path)
    if not codes:
        return Line("", "n/a", "the sheet lists targets, or nothing, and no code to map", sheet, "*")
    known = [name for name in concept_map.names() if codes.keys() <= concept_map.load(name).known]
    known = [name for name in known if _same_targets(codes, name)] or _own_table(codes)
    return Line("", "done" if known else "todo", "", sheet, "*", "", " ".join(known))


def _own_table(codes: Mapping[str, tuple[str, str]]) -> list[str]:
    """`table-0371`: the sheet maps a table's codes to themselves, which is what `tables.csv` does without a map."""
    systems = {system for _, system in codes.values()}
    if any(code != target for code, (target, _) in codes.items()) or len(systems) != 1:
        return []
    table = systems.pop()[-4:]
    if table == "3166":
        return ["table-0399"] if codes.keys() <= tables.codes("0399") else []
    return [f"table-{table}"] if codes.keys() <= tables.codes(table) else []


def _same_targets(sheet: Mapping[str, tuple[str, str]], name: str) -> bool:
    """Whether a map gives what the sheet gives, wherever the sheet gives something."""
    found = concept_map.load(name)
    wanted = {code: target for code, (target, _) in sheet.items() if target}
    return bool(wanted) and all((got := found.get(code)) and got.code == to for code, to in wanted.items())


def read() -> list[Line]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return [Line(**{name: row.get(name) or "" for name in COLUMNS}) for row in csv.DictReader(file)]


def kinds(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """The guide's lines by the kind of their sheet, which its rows' names tell."""
    found: dict[str, list[Line]] = {"message": [], "segment": [], "datatype": [], "codesystem": []}
    for line in lines:
        if line.row == "*":
            kind = "codesystem"
        elif "[" not in line.sheet:
            kind = "message"
        else:
            kind = "segment" if re.match(r"[A-Z][A-Z0-9]{2}\[", line.sheet) and not _is_datatype(line) else "datatype"
        found[kind].append(line)
    return found


_DATATYPES = frozenset("CNE CNN CWE DLD DLN DTM EIP MSG NDL PLN RPT SAD SPS XAD XCN XON XPN XTN".split())


def _is_datatype(line: Line) -> bool:
    return line.sheet.partition("[")[0] in _DATATYPES


def _by_field(line: Line) -> tuple[str, int]:
    segment, _, number = line.field.partition("-")
    return segment, int(number)


def write(lines: Iterable[Line]) -> None:
    """Fields of ours first, in their order, then the guide's rows in its."""
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(line, name) for name in COLUMNS] for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="write the guide's part of crosswalk.csv")
    parser.add_argument("--list", nargs="*", metavar="SHEET", help="print what is to do, of these sheets or of all")
    given = parser.parse_args()
    found = guide_lines()
    if given.list is not None:
        for line in found:
            if line.status == "todo" and (not given.list or line.sheet in given.list):
                print(line.sheet, line.row, line.field, "|", line.target)  # noqa: T201
        return 0
    own = sorted((line for line in read() if not line.sheet), key=_by_field)  # read last: others write it, too
    write([*own, *found])
    print(dict(Counter(line.status for line in found)))  # noqa: T201
    with_target = Counter(line.status for line in found if line.target)
    print("with a target:", dict(with_target))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
