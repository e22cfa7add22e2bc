"""What another converter's Bundle says of a message and ours does not: facts compared, never bytes.

A fact is (resource type, path without indexes, value). Recall counts those facts of the expected Bundle that are
carried over as they stand (a text, code, number or date that the message itself holds) and asks whether our output has
them in the same place. A contradiction is another value at a path that holds one value only, between two resources of
one type that were matched by what they share. Ids, references, narratives and what a converter makes up (URIs, status
codes through a table) carry nothing over; date-times are compared as instants where both have one, else as dates.
The other converter is no authority: `facts_waivers.csv` lists what it has otherwise, each with the sentence of FHIR or
of the guide that decides.

Source: design chapter HL7 v2 §16; the corpus's README says how its expected Bundles are to be used.
"""

import base64
import csv
import fnmatch
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from mappings.convert import Profile, to_fhir
from mappings.fhir.schema import Element, schema
from mappings.hl7v2 import message
from mappings.terminology.systems import registered

Json = dict[str, Any]

WAIVERS = Path(__file__).with_name("facts_waivers.csv")
WAIVER_COLUMNS = ("kind", "type", "path", "value", "field", "ours", "reason", "source")

_SKIPPED = frozenset({"id", "resourceType", "reference", "div", "fullUrl", "lastUpdated", "profile", "versionId"})
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?)?)?\Z", re.ASCII)
_LEXEME = re.compile(r"(?:1[89]|20)\d{2}(?:\d\d){0,5}(?:\.\d+)?(?:[+-]\d{4})?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d*\.?\d+\Z", re.ASCII)
_MADE_UP = "http://example.com/v2-to-fhir-converter/"  # systems of the other converter's own making


class Fact(NamedTuple):
    """One value of one resource. Values are text; a date-time is its date, an extension's step holds its url's end."""

    type: str
    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """Facts the other converter has otherwise, and why we do not; `*` is a wildcard."""

    kind: str  # moved, lost, contradiction
    type: str
    path: str
    value: str
    field: str  # PID-19: the message must hold the value there; `ORC-1=CA`: that text there; several parted by blanks
    ours: str  # where a moved fact must be, `Type.path`; what a contradicted one is with us; several parted by blanks
    reason: str
    source: str

    def covers(self, kind: str, fact: Fact, fields: Mapping[str, list[str]]) -> bool:
        pairs = ((fact.type, self.type), (fact.path, self.path), (fact.value, self.value or "*"))
        return (
            self.kind == kind
            and all(_like(text, pattern) for text, pattern in pairs)
            and (not self.field or any(_stands(pattern, fact, fields) for pattern in self.field.split()))
        )

    def allows(self, values: Iterable[str]) -> bool:
        """Whether we have what the line says instead of a contradicted fact."""
        return any(_like(value, pattern) for value in values for pattern in self.ours.split())

    def finds(self, fact: Fact, places: Mapping[str, set[str]]) -> bool:
        """Whether a moved fact stands where the line says; `places` has ours by value."""
        parts = {
            "type": fact.type,
            "path": fact.path,
            "head": fact.path.rpartition(".")[0],
            "rest": fact.path.partition(".")[2],
            "concept": fact.path.rpartition(".coding.")[0],
        }
        patterns = [pattern.format(**parts) for pattern in self.ours.split()]
        values = [fact.value, *(_days(fact.value) if _DATE.match(fact.value) and "T" in fact.value else ())]
        return any(_like(place, pattern) for value in values for place in places.get(value, ()) for pattern in patterns)


def _stands(pattern: str, fact: Fact, fields: Mapping[str, list[str]]) -> bool:
    """Whether the message holds a fact, or the text that the pattern names, in the field."""
    place, _, text = pattern.partition("=")
    held = {text} if text else {fact.value, *(_days(fact.value) if _DATE.match(fact.value) else ())}
    return any(_like(found, place) for value in held for found in fields.get(value, ()))


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


@dataclass(slots=True)
class Comparison:
    """Sums over messages; `lost` and `against` count facts by (type, path), with the messages they stand in."""

    messages: int = 0
    carried: int = 0  # facts of the expected Bundles that their messages hold as they stand
    present: int = 0
    moved: int = 0  # of those present: at the place a line names
    waived: int = 0
    lost: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    fields: Counter[str] = field(default_factory=Counter)  # where lost facts stand in their messages: PID-19
    against: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    waived_against: int = 0
    used: set[Waiver] = field(default_factory=set)

    @property
    def recall(self) -> float:
        return self.present / max(self.carried - self.waived, 1)

    @property
    def contradictions(self) -> int:
        return sum(found.total() for found in self.against.values())


def waivers() -> list[Waiver]:
    with WAIVERS.open(encoding="utf-8", newline="") as file:
        return [Waiver(**row) for row in csv.DictReader(file)]


def compare(folder: Path, profile: Profile) -> Comparison:
    """Every message of a corpus folder (`messages`, `expected`) that has an expected Bundle."""
    done, known = Comparison(), waivers()
    for path in sorted((folder / "expected").glob("*/*-expected.json")):
        name = path.stem.removesuffix("-expected")
        source = folder / "messages" / f"{name}.hl7"
        if source.is_file():
            expected = json.loads(path.read_text("utf-8-sig"), parse_float=str, parse_int=str)
            compare_one(
                name, source.read_bytes(), [entry["resource"] for entry in expected["entry"]], profile, known, done
            )
    return done


def compare_one(
    name: str, data: bytes, expected: list[Json], profile: Profile, known: Iterable[Waiver], done: Comparison
) -> None:
    """One message, added to the sums."""
    conversion = to_fhir(data, profile)
    ours = [facts(body) for mapped in conversion.resources for body in apart(mapped.body)]
    theirs = [facts(body) for resource in expected for body in apart(resource)]
    words, dates = holdings(data)
    said = {fact for found in ours for fact in found}
    carried = {fact for found in theirs for fact in found if _carried(fact, words, dates)}
    places, fields = _places(said), _fields(data)
    done.messages += 1
    done.carried += len(carried)
    for fact in sorted(carried):
        _settle(name, fact, said, places, known, fields, done)
    for fact, values in _contradictions(theirs, ours, carried):
        lines = (each for each in known if each.covers("contradiction", fact, fields) and each.allows(values))
        if (waiver := next(lines, None)) is not None:
            done.waived_against += 1
            done.used.add(waiver)
        else:
            done.against.setdefault(fact[:2], Counter())[name] += 1


def _settle(
    name: str,
    fact: Fact,
    said: set[Fact],
    places: Mapping[str, set[str]],
    known: Iterable[Waiver],
    fields: Mapping[str, list[str]],
    done: Comparison,
) -> None:
    """One carried fact: present, at another place, waived, or lost."""
    if fact in said or _same_day(fact, said):
        done.present += 1
    elif (
        waiver := next((w for w in known if w.covers("moved", fact, fields) and w.finds(fact, places)), None)
    ) is not None:
        done.present += 1
        done.moved += 1
        done.used.add(waiver)
    elif (waiver := next((w for w in known if w.covers("lost", fact, fields)), None)) is not None:
        done.waived += 1
        done.used.add(waiver)
    else:
        done.lost.setdefault(fact[:2], Counter())[name] += 1
        done.fields[(fields.get(fact.value) or ["elsewhere"])[0]] += 1


def _places(said: Iterable[Fact]) -> dict[str, set[str]]:
    """Value → `Type.path` of our facts; of a URI that is made of a name, by that name as well."""
    found: dict[str, set[str]] = {}
    for fact in said:
        place = f"{fact.type}.{fact.path}"
        found.setdefault(fact.value, set()).add(place)
        if _DATE.match(fact.value) and "T" in fact.value:
            for day in _days(fact.value):
                found.setdefault(day, set()).add(place)
        if fact.value.startswith(("urn:", "http")):
            for name in (unquote(re.split("[/:]", fact.value)[-1]), *_oids().get(fact.value, ())):
                found.setdefault(name, set()).add(place)
    return found


@cache
def _oids() -> dict[str, list[str]]:
    """URI → the OIDs that are registered for it."""
    found: dict[str, list[str]] = {}
    for key, uri in registered().items():
        found.setdefault(uri, []).append(key)
    return found


# facts ----------------------------------------------------------------------------------------------------------------


def apart(body: Json) -> Iterator[Json]:
    """A resource and those it contains, each on its own: containment is a matter of identity, not of facts."""
    yield {name: value for name, value in body.items() if name != "contained"}
    yield from body.get("contained", ())


def facts(body: Json) -> frozenset[Fact]:
    """Every value of a resource."""
    kind = str(body["resourceType"])
    return frozenset(Fact(kind, path, value) for path, value in _leaves(body, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if value.get("contentType") == "text/plain" and "data" in value:
            value = {**value, "data": base64.b64decode(value["data"]).decode("utf-8", "replace")}
        for name, each in value.items():
            if name not in _SKIPPED and not (name == "url" and "extension" in path):
                yield from _leaves(each, f"{path}.{_step(name, each)}".lstrip("."))
    elif isinstance(value, list):
        for each in value:
            step = path
            if path.rpartition(".")[2].lstrip("_") in ("extension", "modifierExtension") and isinstance(each, dict):
                step = f"{path}({str(each.get('url', '')).rpartition('/')[2]})"
            yield from _leaves(each, step)
    elif value is not None and value != "":
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield path, " ".join(text.split())
        if "\n" in text:  # notes of one segment after the other: each line is a fact
            yield from ((path, plain) for line in text.split("\n") if (plain := " ".join(line.split())))


def _step(name: str, value: Any) -> str:
    return name.lstrip("_") if isinstance(value, (dict, list)) and name.startswith("_") else name


# what a message holds -----------------------------------------------------------------------------------------------


def holdings(data: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """(every text that stands in the message at any depth, every date among them)."""
    read = message.parse(data)
    words: set[str] = set()
    for segment in read.segments:
        for number, raw in enumerate(segment.fields):
            if number and not (segment.name == "MSH" and number <= 2):
                words |= set(_texts(raw, read.sep))
    dates = {_day_of(word) for word in words if _LEXEME.match(word)}
    return frozenset(words), frozenset(dates)


def _fields(data: bytes) -> dict[str, list[str]]:
    """Text → the fields that hold it, in the order of the message; of a date or a time its day, too."""
    read = message.parse(data)
    found: dict[str, list[str]] = {}
    for segment in read.segments:
        for number, raw in enumerate(segment.fields):
            for text in set(_texts(raw, read.sep)) if number else ():
                for held in (text, _day_of(text)) if _LEXEME.match(text) else (text,):
                    found.setdefault(held, []).append(f"{segment.name}-{number}")
    return found


def _texts(raw: str, sep: message.Separators) -> Iterator[str]:
    for repetition in raw.split(sep.rep):
        for component in repetition.split(sep.comp):
            for part in (component, *component.split(sep.sub)):
                if text := " ".join(_plain(part, sep).split()):
                    yield text


def _plain(text: str, sep: message.Separators) -> str:
    """The common escape sequences resolved; the rare ones do not matter to a comparison."""
    esc = sep.esc
    if esc not in text:
        return text
    pairs = (("F", sep.field), ("S", sep.comp), ("T", sep.sub), ("R", sep.rep), (".br", " "), ("H", ""), ("N", ""))
    for name, plain in pairs:
        text = text.replace(f"{esc}{name}{esc}", plain)
    return text.replace(f"{esc}E{esc}", esc)


def _day_of(lexeme: str) -> str:
    digits = re.match(r"\d+", lexeme)
    text = digits[0] if digits else ""
    return "-".join(part for part in (text[:4], text[4:6], text[6:8]) if part)


def _carried(fact: Fact, words: frozenset[str], dates: frozenset[str]) -> bool:
    """Whether a value was carried over as it stands; codes that a table or a rule gave are not."""
    if fact.value.startswith(_MADE_UP) or fact.path.endswith(("system", "url")) or _bound(fact.type, fact.path):
        return False
    if _DATE.match(fact.value) and len(fact.value) > 4:
        return bool({fact.value[:10], *_days(fact.value)} & dates)
    return fact.value in words or (bool(_NUMBER.match(fact.value)) and _number(fact.value) in words)


def _number(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bound(kind: str, path: str) -> bool:
    """Whether FHIR itself lists the values of an element, or it is a boolean."""
    steps = list(_elements(kind, path))
    return bool(steps) and (steps[-1][0].valueset is not None or steps[-1][1] == "boolean")


def _elements(kind: str, path: str) -> Iterator[tuple[Element, str]]:
    """(element, its type) of each step of a path, as far as R4 has it."""
    here = kind
    for step in path.split("."):
        name = step.partition("(")[0].lstrip("_")
        element = schema().element(here, name) if schema().has_children(here) else None
        if element is None:
            return
        here = element.names.get(name, element.types[0])
        yield element, here


def _days(value: str) -> set[str]:
    """The dates a date-time may be called: as written, and in UTC."""
    found = {value[:10]}
    if "T" in value and (value.endswith("Z") or value[-6] in "+-"):
        try:
            found.add(datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(UTC).date().isoformat())
        except (ValueError, OverflowError):
            return found
    return found


def _same_day(fact: Fact, said: Iterable[Fact]) -> bool:
    """Date-times that fall on one day: the offset is what the two converters disagree on."""
    if not _DATE.match(fact.value) or len(fact.value) < 10:
        return False
    days = _days(fact.value)
    return any(
        each[:2] == fact[:2] and _DATE.match(each.value) is not None and bool(_days(each.value) & days) for each in said
    )


# contradictions -------------------------------------------------------------------------------------------------------


def _contradictions(
    theirs: list[frozenset[Fact]], ours: list[frozenset[Fact]], carried: set[Fact]
) -> Iterator[tuple[Fact, set[str]]]:
    """Facts of theirs against which the resource of ours that is most like theirs has another value, and that value."""
    for mine, other in _matched(theirs, ours, carried):
        single: Mapping[str, set[str]] = _by_path(other)
        for fact in mine:
            values = single.get(fact.path)
            if not values or fact.value in values or not _single(fact.type, fact.path):
                continue
            if fact.path.endswith(("system", "url")) or fact.value.startswith(_MADE_UP) or _same_day(fact, other):
                continue
            if fact.value.casefold() not in {value.casefold() for value in values}:
                yield fact, values


def _matched(
    theirs: list[frozenset[Fact]], ours: list[frozenset[Fact]], carried: set[Fact]
) -> Iterator[tuple[frozenset[Fact], frozenset[Fact]]]:
    """Pairs of one type that share most, each resource once; what shares no fact of the message has no partner."""
    scored = sorted(
        (
            (len(a & b) / len(a | b), i, j)
            for i, a in enumerate(theirs)
            for j, b in enumerate(ours)
            if a and b and next(iter(a)).type == next(iter(b)).type and a & b & carried
        ),
        key=lambda each: (-each[0], each[1], each[2]),
    )
    left, right = set(range(len(theirs))), set(range(len(ours)))
    for _, i, j in scored:
        if i in left and j in right:
            left.discard(i)
            right.discard(j)
            yield theirs[i], ours[j]


def _by_path(found: frozenset[Fact]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for fact in found:
        values.setdefault(fact.path, set()).add(fact.value)
    return values


def _single(kind: str, path: str) -> bool:
    """Whether a path holds one value: no element on it repeats."""
    steps = list(_elements(kind, path))
    return len(steps) == path.count(".") + 1 and not any(element.many for element, _ in steps)
