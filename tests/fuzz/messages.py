"""Messages of every structure that is listed: plausible at each field, or a sample with something changed.

A field is filled by what its rows read it as (`CX`, `DTM`, `CWE` …) three times in four, with codes of the row's own
concept map, and by anything else the fourth: so the fuzzer spends its time behind the parser, in the rules.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Final

from mappings.terminology import concept_map
from tests.fuzz.choices import Choices
from tests.fuzz.lexemes import CODES, MAKERS, TIMES, value
from tests.mappings.hl7v2.messages import ROOT, SAMPLES, default

VALUE_TYPES: Final = (
    "NM", "ST", "TX", "FT", "CE", "CWE", "CNE", "SN", "DT", "TM", "TS", "DTM", "ED", "RP", "NA", "MA", "CX", "XPN",
    "XAD", "XTN", "CQ", "NR", "DR", "PPN", "XX", "",
)  # fmt: skip
VERSIONS: Final = ("2.5.1", "2.3", "2.1", "2.9", "2.7", "2", "x", "2.4^DEU")
MOST_LINES = 40

Kind = tuple[str, str]  # what a row reads its field as, and its concept map


@cache
def rows() -> dict[str, dict[int, tuple[Kind, ...]]]:
    """Segment → field → how rows read it."""
    found: dict[str, dict[int, set[Kind]]] = defaultdict(lambda: defaultdict(set))
    for row in default().maps.table.values():
        for source in row.source.split("|"):
            segment, _, place = source.partition("-")
            number = place.split(".")[0].split("[")[0]
            if number.isdigit():
                found[segment][int(number)].add((row.type.split("[")[0], row.vocab))
    return {name: {n: tuple(sorted(kinds)) for n, kinds in fields.items()} for name, fields in sorted(found.items())}


@cache
def structures() -> tuple[tuple[str, str, str], ...]:
    """Message, event and structure of every line of structures.csv."""
    with (ROOT / "mappings/hl7v2/structures.csv").open(encoding="utf-8", newline="") as lines:
        return tuple((row["message"], row["event"], row["structure"]) for row in csv.DictReader(lines))


@cache
def segments() -> tuple[str, ...]:
    return (*rows(), "NTE", "ZZ1", "XYZ", "MSH", "BHS", "obx", "DSC")


@cache
def samples() -> tuple[tuple[str, ...], ...]:
    texts = (path.read_bytes().decode("utf-8", "replace") for path in SAMPLES)
    return tuple(tuple(line for line in text.replace("\n", "\r").split("\r") if line) for text in texts)


@cache
def codes(vocabulary: str) -> tuple[str, ...]:
    """Codes for a field: its map's own first."""
    known = concept_map.load(vocabulary).known if vocabulary in concept_map.names() else ()
    return (*sorted(known), *CODES) if known else CODES


def built(choices: Choices) -> bytes:
    """A message of some structure, its segments in any order."""
    kind, event, name = choices.one(structures())
    nine = f"{kind}^{event}^{name}" if choices.flip(128) else f"{kind}^{event}"
    header = f"MSH|^~\\&|SYS|HOSP|CB|HOSP|{choices.one(TIMES)}||{nine}|ID1|P|{choices.one(VERSIONS)}"
    lines = [header, f"EVN|{event}|{choices.one(TIMES)}", line(choices, "PID")]
    while not choices.ended and len(lines) < MOST_LINES:
        lines.append(line(choices, choices.one(segments())))
    return "\r".join(lines).encode()


def changed(choices: Choices) -> bytes:
    """A sample with some fields, or segments, changed."""
    lines = list(choices.one(samples()))
    while not choices.ended and len(lines) < 4 * MOST_LINES:
        at, act = choices.number(len(lines)), choices.number(8)
        if act == 0 and len(lines) > 1:
            del lines[at]
        elif act == 1:
            lines.insert(choices.number(len(lines)), lines[at])
        elif act == 2:
            lines.insert(at, line(choices, choices.one(segments())))
        else:
            lines[at] = refilled(choices, lines[at])
    return "\r".join(lines).encode()


def refilled(choices: Choices, text: str) -> str:
    fields = text.split("|")
    known = rows().get(fields[0], {})
    number = choices.one(sorted(known)) if known and choices.flip(200) else choices.number(50) + 1
    fields += [""] * (number + 1 - len(fields))
    fields[number] = field(choices, known.get(number, ()))
    return "|".join(fields)


def line(choices: Choices, name: str) -> str:
    """A segment with some of the fields that rows read, and seldom another."""
    known = rows().get(name, {})
    fields = [""] * (max(known, default=5) + 2)
    for number, kinds in known.items():
        if choices.flip(110):
            fields[number] = field(choices, kinds)
    if choices.flip(20):
        fields[choices.number(len(fields) - 1) + 1] = field(choices, ())
    if name == "OBX":
        fields[2] = choices.one(VALUE_TYPES)
    return "|".join([name, *fields[1:]])


def field(choices: Choices, kinds: Sequence[Kind]) -> str:
    kind, vocabulary = choices.one(kinds) if kinds and choices.flip(192) else (choices.one(sorted(MAKERS)), "")
    repetitions = 1 + choices.flip(40) + choices.flip(20)
    return "~".join(value(choices, kind, choices.one(codes(vocabulary))) for _ in range(repetitions))
