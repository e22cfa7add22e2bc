"""What resources say, fact for fact: (kind, statement, element, value), equal whichever standard it came from.

Every element of a resource of `READ` is read, or is a line of `UNREAD` with the reason why it does not count: what
turns up beside is a fact nobody meant. A statement is known by its code, a patient by her numbers.
Source: FHIR R4.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from mappings.convert import Conversion
from mappings.fhir.codec import encode

Json = dict[str, Any]


class Fact(NamedTuple):
    kind: str
    statement: str
    element: str
    value: str


UCUM: Final = "http://unitsofmeasure.org"
# resources that are no statement about the patient's health
_BESIDE: Final = {
    "Binary": "the bytes that were sent", "Composition": "read for its empty sections only",
    "Device": "what wrote it", "DocumentReference": "the bytes that were sent", "MessageHeader": "the message",
    "Organization": "who sent it", "Practitioner": "who wrote it", "Provenance": "where it came from",
    "ServiceRequest": "v2 tells the order with its results; the model has none",
}  # fmt: skip
# elements that say nothing of what is compared
UNREAD: Final = {
    ("*", "resourceType"): "the kind", ("*", "id"): "differs", ("*", "meta"): "labels of the input",
    ("*", "text"): "the narrative", ("*", "contained"): "read where it is referred to",
    ("*", "identifier"): "v2 numbers orders, CDA statements",
    ("*", "basedOn"): "v2 tells the order with its results", ("Observation", "issued"): "when v2's report was made",
    ("*", "extension narrativeLink"): "where the narrative is", ("*", "recorder"): "who wrote it",
    ("name", "extension iso21090-EN-qualifier"): "BR says again that a name is the maiden name",
}  # fmt: skip


def facts(conversions: Iterable[Conversion]) -> frozenset[Fact]:
    """The facts of all statements; a statement said twice says so."""
    bodies = {
        (body["resourceType"], body["id"]): body
        for done in conversions
        for each in done.resources
        for body in [json.loads(encode(each.body), parse_float=str, parse_int=str)]
    }
    known = {f"{kind}/{number}": body for (kind, number), body in bodies.items()}
    found: list[Fact] = []
    times: Counter[tuple[str, str]] = Counter()
    for body in known.values():
        kind = body["resourceType"]
        if kind in READ:
            statement = "patient" if kind == "Patient" else coded(_code(body, known)).partition(" ; ")[0]
            times[kind, statement] += 1
            found += [Fact(kind, statement, *said) for said in _read(body, known)]
        elif kind == "Composition":
            found += list(_empty(body))
        elif kind not in _BESIDE:
            found.append(Fact(kind, "", "unexpected", ""))
    return frozenset((*found, *(Fact(*key, "times", str(n)) for key, n in times.items() if n > 1)))


def _read(body: Json, known: dict[str, Json]) -> Iterator[tuple[str, str]]:
    kind = body["resourceType"]
    readers: dict[str, Reader] = READ[kind]
    for name, value in body.items():
        if name == "extension":
            for each in value:
                if not _unread(kind, each):
                    inside = {key: part for key, part in each.items() if key != "url"}
                    yield f"extension {each['url'].rpartition('/')[2]}", plain(inside)
        elif name in readers:
            element, read = readers[name]
            for each in value if isinstance(value, list) else [value]:
                for said in read(each, known):
                    yield (element, said) if isinstance(said, str) else (f"{element}.{said[0]}", said[1])
        elif (kind, name) not in UNREAD and ("*", name) not in UNREAD:
            yield name, plain(value)


def _unread(kind: str, extension: Json) -> bool:
    name = f"extension {extension['url'].rpartition('/')[2]}"
    return (kind, name) in UNREAD or ("*", name) in UNREAD


def plain(value: Any) -> str:
    """What has no reader, as it stands."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


# parts ----------------------------------------------------------------------------------------------------------------

Said = str | tuple[str, str]
Reader = tuple[str, Callable[[Any, dict[str, Json]], Iterable[Said]]]


def coded(concept: Json | None) -> str:
    """The codings in their order, and the text."""
    codings = [
        "|".join(each.get(name, "") for name in ("system", "code", "display"))
        for each in (concept or {}).get("coding", ())
    ]
    text = (concept or {}).get("text")
    return " ; ".join(codings + ([f"({text})"] if text else []))


def quantity(found: Json) -> str:
    unit = f" {found['code']}" if found.get("system") == UCUM else f" '{found['unit']}'" if "unit" in found else ""
    return f"{found.get('comparator', '')}{found.get('value', '')}{unit}"


def range_(found: Json) -> str:
    return f"{quantity(found.get('low', {}))} to {quantity(found.get('high', {}))}"


def _status(concept: Json, known: dict[str, Json]) -> list[str]:
    """FHIR's own code; what the sender called it stands beside."""
    own = [each["code"] for each in concept["coding"] if "/CodeSystem/" in each.get("system", "")]
    return own[:1] or [coded(concept)]


def _concept(concept: Json, known: dict[str, Json]) -> list[str]:
    return [coded(concept)]


def _key(concept: Json, known: dict[str, Json]) -> list[str]:
    """A code alone: the displays of FHIR's own codes differ."""
    return [" ; ".join(f"{each.get('system', '')}|{each['code']}" for each in concept["coding"])]


def _plain(value: Any, known: dict[str, Json]) -> list[str]:
    return [plain(value)]


def _quantity(value: Json, known: dict[str, Json]) -> list[str]:
    return [quantity(value)]


def _of(reference: Json, known: dict[str, Json]) -> list[str]:
    """Whose it is: her first number."""
    patient = known.get(reference.get("reference", ""), {})
    return ["|".join(patient.get("identifier", [{}])[0].get(name, "") for name in ("system", "value"))]


def _code(body: Json, known: dict[str, Json]) -> Json | None:
    """What a statement is about."""
    if "medicationReference" in body:
        target = body["medicationReference"]["reference"]
        inside = {f"#{each['id']}": each for each in body.get("contained", ())}
        product: Json = inside.get(target) or known[target]
        return product.get("code")
    found: Json | None = body.get("code") or body.get("vaccineCode") or body.get("medicationCodeableConcept")
    return found


def _identifier(found: Json, known: dict[str, Json]) -> list[str]:
    return [f"{found.get('system', '')}|{found.get('value', '')}"]


def _name(found: Json, known: dict[str, Json]) -> list[str]:
    """Given names as one line: v2 has one component for all but the first."""
    parts = {**found, "given": " ".join(found.get("given", ()))}
    beside = [each for each in parts.pop("_family", {}).get("extension", ()) if not _unread("name", each)]
    return [plain({name: part for name, part in {**parts, "_family": beside}.items() if part})]


def _birth_time(found: Json, known: dict[str, Json]) -> list[str]:
    return [each["valueDateTime"] for each in found["extension"]]


def _reaction(found: Json, known: dict[str, Json]) -> list[str]:
    said = f"{' ; '.join(map(coded, found['manifestation']))} {found.get('severity', '')}"
    more = {name: part for name, part in found.items() if name not in ("manifestation", "severity")}
    return [said.strip(), *([plain(more)] if more else [])]


def _dosage(found: Json, known: dict[str, Json]) -> Iterator[Said]:
    for name, value in found.items():
        if name == "timing":
            yield from _timing(value)
        elif name == "route":
            yield "route", coded(value)
        elif name == "doseAndRate":
            for each in value:
                yield "dose", quantity(each["doseQuantity"]) if each.keys() == {"doseQuantity"} else plain(each)
        else:
            yield name, plain(value)


def _timing(found: Json) -> Iterator[Said]:
    """What the pattern means; its code is the pattern as it was sent."""
    repeat = dict(found.get("repeat", {}))
    bounds = repeat.pop("boundsPeriod", None)
    if bounds is not None:
        yield "bounds", period(bounds)
    if repeat:
        every = [repeat.pop(name, "1") for name in ("frequency", "period", "periodUnit")]
        yield "every", " ".join((*every, *([plain(repeat)] if repeat else [])))
    elif "code" in found:
        yield "words", coded(found["code"])
    for name in found.keys() - {"repeat", "code"}:
        yield name, plain(found[name])


def period(found: Json) -> str:
    more = {name: part for name, part in found.items() if name not in ("start", "end")}
    return f"{found.get('start', '')} to {found.get('end', '')}{plain(more) if more else ''}"


def _supplied(found: Json, known: dict[str, Json]) -> Iterator[Said]:
    for name, value in found.items():
        yield name, quantity(value) if name == "quantity" else plain(value)


def _series(found: Json, known: dict[str, Json]) -> list[str]:
    return [plain(found)]


def _results(reference: Json, known: dict[str, Json]) -> list[str]:
    return [coded(_code(known[reference["reference"]], known))]


def _limits(found: Json, known: dict[str, Json]) -> list[str]:
    more = {name: part for name, part in found.items() if name not in ("low", "high", "text")}
    return [f"{range_(found)} ({found.get('text', '')})", *([plain(more)] if more else [])]


def _note(found: Json, known: dict[str, Json]) -> list[str]:
    return [found["text"]]


def _range(found: Json, known: dict[str, Json]) -> list[str]:
    return [range_(found)]


def _ratio(found: Json, known: dict[str, Json]) -> list[str]:
    return [f"{quantity(found['numerator'])} : {quantity(found['denominator'])}"]


def _empty(body: Json) -> Iterator[Fact]:
    for section in body.get("section", ()):
        if "emptyReason" in section:
            code = section["code"]["coding"][0]["code"]
            yield Fact("Composition", code, "emptyReason", _status(section["emptyReason"], {})[0])


_WHOSE = {"patient": ("of", _of), "subject": ("of", _of)}
_DRUG: dict[str, Reader] = {
    "medicationCodeableConcept": ("code", _concept), "medicationReference": ("code", lambda _, known: ()),
    "status": ("status", _plain), "dosageInstruction": ("dosage", _dosage), "dosage": ("dosage", _dosage), **_WHOSE,
}  # fmt: skip
READ: Final[dict[str, dict[str, Reader]]] = {
    "Patient": {
        "identifier": ("number", _identifier), "name": ("name", _name), "birthDate": ("birth", _plain),
        "_birthDate": ("birth time", _birth_time), "gender": ("sex", _plain), "address": ("address", _plain),
        "telecom": ("telecom", _plain), "maritalStatus": ("marital", _key), "deceasedBoolean": ("dead", _plain),
        "deceasedDateTime": ("dead", _plain),
    },
    "AllergyIntolerance": {
        "code": ("code", _concept), "clinicalStatus": ("clinical", _status),
        "verificationStatus": ("verification", _status), "type": ("type", _plain), "category": ("category", _plain),
        "criticality": ("criticality", _plain), "onsetDateTime": ("onset", _plain), "reaction": ("reaction", _reaction),
        **_WHOSE,
    },
    "Condition": {
        "code": ("code", _concept), "clinicalStatus": ("clinical", _status),
        "verificationStatus": ("verification", _status), "category": ("category", _key),
        "onsetDateTime": ("onset", _plain), "abatementDateTime": ("abatement", _plain), **_WHOSE,
    },
    "MedicationRequest": {
        **_DRUG, "intent": ("intent", _plain), "doNotPerform": ("do not", _plain),
        "dispenseRequest": ("supply", _supplied),
    },
    "MedicationStatement": {**_DRUG, "effectivePeriod": ("when", lambda found, _: [period(found)])},
    "Immunization": {
        "vaccineCode": ("code", _concept), "status": ("status", _plain), "statusReason": ("why not", _concept),
        "occurrenceDateTime": ("when", _plain), "lotNumber": ("lot", _plain), "doseQuantity": ("dose", _quantity),
        "route": ("route", _concept), "protocolApplied": ("series", _series), **_WHOSE,
    },
    "DiagnosticReport": {
        "code": ("code", _concept), "status": ("status", _plain), "category": ("category", _key),
        "effectiveDateTime": ("when", _plain), "result": ("result", _results), **_WHOSE,
    },
    "Observation": {
        "code": ("code", _concept), "status": ("status", _plain), "category": ("category", _key),
        "effectiveDateTime": ("when", _plain), "valueQuantity": ("value", _quantity), "valueString": ("value", _plain),
        "valueCodeableConcept": ("value", _concept), "valueRange": ("value", _range), "valueRatio": ("value", _ratio),
        "valueDateTime": ("value", _plain), "dataAbsentReason": ("no value", _status),
        "interpretation": ("interpretation", _key), "referenceRange": ("limits", _limits), "note": ("note", _note),
        **_WHOSE,
    },
}  # fmt: skip
