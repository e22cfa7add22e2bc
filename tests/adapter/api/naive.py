"""A search answered by looking at everything: written from the standard alone, sharing nothing with the planner, the
index, the matcher or the extraction of the program.

It knows a few types and parameters by their places in JSON, reads values afresh for each question, and takes its time.
FHIR R4 search.html §3.1.1.4.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
Span = tuple[datetime, datetime]

UCUM = "http://unitsofmeasure.org"
SPECIAL = "http://terminology.hl7.org/CodeSystem/special-values"
META = {
    "_id": ("token", ["id"], None),
    "_lastUpdated": ("date", ["meta.lastUpdated"], None),
    "_tag": ("token", ["meta.tag"], None),
    "_security": ("token", ["meta.security"], None),
    "_profile": ("uri", ["meta.profile"], None),
    "_source": ("uri", ["meta.source"], None),
}
# parameter -> (kind, places, system that the element's value set gives a bare code)
PLACES: dict[str, dict[str, tuple[str, list[str], str | None]]] = {
    "Observation": {
        "code": ("token", ["code"], None),
        "component-code": ("token", ["component.code"], None),
        "combo-code": ("token", ["code", "component.code"], None),
        "category": ("token", ["category"], None),
        "status": ("token", ["status"], "http://hl7.org/fhir/observation-status"),
        "method": ("token", ["method"], None),
        "value-concept": ("token", ["valueCodeableConcept"], None),
        "identifier": ("token", ["identifier"], None),
        "value-string": ("string", ["valueString", "valueCodeableConcept.text"], None),
        "value-quantity": ("quantity", ["valueQuantity"], None),
        "component-value-quantity": ("quantity", ["component.valueQuantity"], None),
        "combo-value-quantity": ("quantity", ["valueQuantity", "component.valueQuantity"], None),
        "date": ("date", ["effectiveDateTime", "effectivePeriod"], None),
        "subject": ("reference", ["subject"], None),
        "encounter": ("reference", ["encounter"], None),
        "performer": ("reference", ["performer"], None),
        "derived-from": ("reference", ["derivedFrom"], None),
    },
    "Condition": {
        "code": ("token", ["code"], None),
        "clinical-status": ("token", ["clinicalStatus"], None),
        "onset-date": ("date", ["onsetDateTime", "onsetPeriod"], None),
        "recorded-date": ("date", ["recordedDate"], None),
        "encounter": ("reference", ["encounter"], None),
        "subject": ("reference", ["subject"], None),
    },
    "Encounter": {
        "status": ("token", ["status"], "http://hl7.org/fhir/encounter-status"),
        "class": ("token", ["class"], None),
        "date": ("date", ["period"], None),
        "length": ("quantity", ["length"], None),
        "part-of": ("reference", ["partOf"], None),
        "subject": ("reference", ["subject"], None),
    },
    "RiskAssessment": {
        "probability": ("number", ["prediction.probabilityDecimal"], None),
        "date": ("date", ["occurrenceDateTime"], None),
        "subject": ("reference", ["subject"], None),
    },
    "Patient": {
        "family": ("string", ["name.family"], None),
        "given": ("string", ["name.given"], None),
        "name": ("string", ["name.family", "name.given", "name.prefix", "name.suffix", "name.text"], None),
        "address-city": ("string", ["address.city"], None),
        "birthdate": ("date", ["birthDate"], None),
        "gender": ("token", ["gender"], "http://hl7.org/fhir/administrative-gender"),
        "active": ("token", ["active"], SPECIAL),
        "identifier": ("token", ["identifier"], None),
        "telecom": ("token", ["telecom"], None),
    },
}
COMPOSITES = {  # code -> (node, places of the two components)
    "code-value-quantity": ("", ["code"], ["valueQuantity"]),
    "component-code-value-quantity": ("component", ["code"], ["valueQuantity"]),
    "combo-code-value-quantity": ("*", ["code"], ["valueQuantity"]),
}
# what a gram is in another unit, and a litre: enough for the units of the population
UNITS = {
    "g/L": ("mass", Decimal(1)),
    "mg/dL": ("mass", Decimal("0.01")),
    "mg/L": ("mass", Decimal("0.001")),
    "mmol/L": ("amount", Decimal(1)),
    "umol/L": ("amount", Decimal("0.001")),
    "h": ("time", Decimal(60)),
    "min": ("time", Decimal(1)),
}


class World:
    """All resources by reference, and who may see which of them."""

    def __init__(self, resources: Mapping[str, Json], zone: tzinfo, sees: Callable[[Json], bool]) -> None:
        self.resources, self.zone, self.sees = resources, zone, sees

    def search(self, kind: str, pairs: list[tuple[str, str]], now: datetime) -> set[str]:
        return {
            one["id"]
            for one in self.resources.values()
            if one["resourceType"] == kind and self.sees(one)
            if all(self.meets(one, name, value, now) for name, value in pairs)
        }

    def meets(self, resource: Json, name: str, value: str, now: datetime) -> bool:
        kind = resource["resourceType"]
        if name.startswith("_has:"):
            _, source, code, rest = name.split(":", 3)
            return any(
                self.meets(other, rest, value, now)
                for other in self.resources.values()
                if other["resourceType"] == source and self.sees(other) and owner(other) == owner(resource)
                if f"{kind}/{resource['id']}" in [ref.get("reference") for ref in self.nodes(other, code)]
            )
        if "." in name:
            head, rest = name.split(".", 1)
            code, _, wanted = head.partition(":")
            found = [self.resources.get(ref.get("reference", "")) for ref in self.nodes(resource, code)]
            return any(
                self.meets(one, rest, value, now)
                for one in found
                if one is not None and self.sees(one) and wanted in ("", one["resourceType"])
                if rest.split(":")[0].split(".")[0] in {*PLACES.get(one["resourceType"], {}), *META, "patient"}
            )
        code, _, modifier = name.partition(":")
        if code in COMPOSITES:
            return any(self.pair(resource, COMPOSITES[code], one, now) for one in value.split(","))
        place = "subject" if code == "patient" else code
        type_, places, system = (PLACES.get(kind, {}) | META)[place]
        nodes = [node for path in places for node in walk(resource, path.split("."))]
        if modifier == "missing":
            return (not nodes) == (value == "true")
        hit = any(self.value(type_, node, one, modifier, system, now) for node in nodes for one in value.split(","))
        return not hit if modifier == "not" else hit

    def nodes(self, resource: Json, code: str) -> list[Json]:
        place = "subject" if code == "patient" else code
        _, places, _ = PLACES[resource["resourceType"]][place]
        return [node for path in places for node in walk(resource, path.split("."))]

    def pair(self, resource: Json, composite: tuple[str, list[str], list[str]], value: str, now: datetime) -> bool:
        node, codes, amounts = composite
        code, amount = value.split("$")
        nodes = [resource] if node == "" else list(resource.get("component", []))
        if node == "*":
            nodes.append(resource)
        return any(
            any(self.value("token", one, code, "", None, now) for path in codes for one in walk(each, [path]))
            and any(
                self.value("quantity", one, amount, "", None, now) for path in amounts for one in walk(each, [path])
            )
            for each in nodes
        )

    def value(self, type_: str, node: Any, asked: str, modifier: str, system: str | None, now: datetime) -> bool:
        match type_:
            case "token":
                return token(node, asked, modifier, system)
            case "string":
                return string(node, asked, modifier)
            case "uri":
                return uri(node, asked, modifier)
            case "reference":
                return reference(node, asked, modifier)
            case "date":
                return date(node, asked, self.zone, now)
            case "number":
                return number(Decimal(str(node)), Decimal(str(node)), asked, Decimal(1))
            case _:
                return quantity(node, asked)


def owner(resource: Json) -> str:
    """Whose it is: the patient's reference; "" for nobody's."""
    if resource["resourceType"] == "Patient":
        return f"Patient/{resource['id']}"
    return str(resource.get("subject", {}).get("reference", ""))


def walk(node: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(node, list):
        for one in node:
            yield from walk(one, path)
    elif not path:
        yield node
    elif isinstance(node, dict) and path[0] in node:
        yield from walk(node[path[0]], path[1:])


def token(node: Any, asked: str, modifier: str, system: str | None) -> bool:
    pairs: list[tuple[str | None, str | None]]
    texts: list[str] = []
    if isinstance(node, bool):
        pairs = [(system, str(node).lower())]
    elif isinstance(node, str):
        pairs = [(system, node)]
    elif "coding" in node or "text" in node:
        pairs = [(one.get("system"), one.get("code")) for one in node.get("coding", [])]
        texts = [one["display"] for one in node.get("coding", []) if "display" in one]
        texts += [node["text"]] if "text" in node else []
    elif "value" in node:
        pairs = [(node.get("system") if "use" not in node else None, node["value"])]
    else:
        pairs = [(node.get("system"), node.get("code"))]
        texts = [node["display"]] if "display" in node else []
    if modifier == "text":
        return any(fold(text).startswith(fold(asked)) for text in texts)
    if modifier == "of-type":
        kind, code, value = asked.split("|")
        types = [(one.get("system"), one.get("code")) for one in node.get("type", {}).get("coding", [])]
        return (kind, code) in types and node["value"].casefold() == value.casefold()
    wanted, bar, code = asked.rpartition("|")
    for its, said in pairs:
        implied = isinstance(node, str | bool)
        if bar and wanted and its != wanted:
            continue
        if bar and not wanted and its is not None and not implied:
            continue
        if code == "" and said is not None:
            return True
        exact = its is not None and its.startswith("http://hl7.org/fhir/")
        if said is not None and (said == code or (not exact and said.casefold() == code.casefold())):
            return True
    return False


def fold(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text).casefold()
    kept = [letter for letter in bare if not unicodedata.category(letter).startswith(("M", "P"))]
    return " ".join("".join(kept).split())


def string(node: str, asked: str, modifier: str) -> bool:
    if modifier == "exact":
        return node == asked
    if modifier == "contains":
        return fold(asked) in fold(node)
    return fold(node).startswith(fold(asked))


def uri(node: str, asked: str, modifier: str) -> bool:
    if modifier == "below":
        return f"{node}/".startswith(f"{asked}/")
    if modifier == "above":
        return f"{asked}/".startswith(f"{node}/")
    return node == asked


def reference(node: Json, asked: str, modifier: str) -> bool:
    if modifier == "identifier":
        return "identifier" in node and token(node["identifier"], asked, "", None)
    said = node.get("reference", "")
    if modifier:
        return bool(said == f"{modifier}/{asked}")
    return bool(said == asked if "/" in asked else said.endswith(f"/{asked}"))


# --- amounts ----------------------------------------------------------------------------------------------------------


def prefixed(asked: str) -> tuple[str, str]:
    return (asked[:2], asked[2:]) if asked[:2].isalpha() and asked[:2].islower() else ("eq", asked)


def margin(lexeme: str) -> Decimal:
    places = len(lexeme.partition(".")[2])
    return Decimal(5).scaleb(-places - 1)


def number(low: Decimal | None, high: Decimal | None, asked: str, factor: Decimal, open_: str = "") -> bool:
    """`low` to `high` is what is said; `factor` brings the question into its unit; `open_`: sides not included."""
    prefix, lexeme = prefixed(asked)
    value, slack = Decimal(lexeme) * factor, margin(lexeme) * factor
    tenth = abs(value) / 10
    inside = (
        low is not None
        and high is not None
        and value - slack <= low
        and (high < value + slack or ("high" in open_ and high == value + slack))
    )
    match prefix:
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return high is None or high > value
        case "ge":
            return high is None or high > value or low == high == value
        case "lt":
            return low is None or low < value
        case "le":
            return low is None or low < value or low == high == value
        case "sa":
            return low is not None and (low > value or ("low" in open_ and low == value))
        case "eb":
            return high is not None and (high < value or ("high" in open_ and high == value))
        case _:
            above = low is None or low < value + tenth or (low == value + tenth and "low" not in open_)
            below = high is None or high > value - tenth or (high == value - tenth and "high" not in open_)
            return above and below


def quantity(node: Json, asked: str) -> bool:
    amount, *unit = asked.split("|")
    system, code = unit if unit else ("", "")
    factor = Decimal(1)
    if system:
        if (node.get("system"), node.get("code")) != (system, code):
            mine, theirs = UNITS.get(code), UNITS.get(node.get("code", ""))
            if system != UCUM or node.get("system") != UCUM or not mine or not theirs or mine[0] != theirs[0]:
                return False
            factor = mine[1] / theirs[1]
    elif code and code not in (node.get("code"), node.get("unit")):
        return False
    value, sign = Decimal(str(node["value"])), node.get("comparator", "")
    low = None if sign.startswith("<") else value
    high = None if sign.startswith(">") else value
    return number(low, high, amount, factor, {"<": "high", ">": "low"}.get(sign, ""))


# --- dates ------------------------------------------------------------------------------------------------------------

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_FORM = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?")


def span(text: str, zone: tzinfo) -> Span:
    match = _FORM.fullmatch(text)
    assert match is not None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if offset == "Z":
        zone = UTC
    elif offset:
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:])))
    micros = int((fraction or "0").ljust(6, "0")[:6])
    numbers = (int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), micros)
    start = datetime(*numbers, tzinfo=zone)
    if not month:
        end = start.replace(year=start.year + 1)
    elif not day:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    elif not hour:
        end = start + timedelta(days=1)
    elif not second:
        end = start + timedelta(minutes=1)
    elif not fraction:
        end = start + timedelta(seconds=1)
    else:
        end = start + timedelta(microseconds=10 ** (6 - len(fraction)))
    return start.astimezone(UTC), end.astimezone(UTC)


def date(node: Any, asked: str, zone: tzinfo, now: datetime) -> bool:
    prefix, lexeme = prefixed(asked)
    start, end = span(lexeme, zone)
    if isinstance(node, dict):
        said = span(node["start"], zone)[0] if "start" in node else FIRST
        done = span(node["end"], zone)[1] if "end" in node else LAST
    else:
        said, done = span(node, zone)
    inside = start <= said and done <= end
    match prefix:
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return done > end
        case "ge":
            return done > end or inside
        case "lt":
            return said < start
        case "le":
            return said < start or inside
        case "sa":
            return said >= end
        case "eb":
            return done <= start
        case _:
            slack = max(start - now, now - end, timedelta(0)) / 10
            return said < end + slack and done > start - slack
