"""$translate, $validate-code and $expand, over what ships with us. http://hl7.org/fhir/R4/terminology-service.html

Nothing here is anybody's data: a token is needed, an event is not. What is not held is an error (404), never a `false`;
where only part of a code system is known, a code outside of that part is 422, for nobody here can tell. Codes are
compared with their systems. No displays are held: one that is asked about is said not to have been judged.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC

from adapter.api.call import Answer, Call
from adapter.api.operations.arguments import Arguments, arguments
from adapter.api.operations.served import definition
from adapter.errors import BadRequest, NotFound, Unprocessable
from ledger.event import timestamp
from mappings.fhir.codec import Json, encode
from mappings.terminology import lookup, translation
from mappings.terminology.lookup import Unlisted
from mappings.terminology.translation import Match

CODED = frozenset({"url", "code", "display", "coding", "codeableConcept"})
IN_SYSTEM = CODED | {"abstract"}
IN_SET = CODED | {"system", "valueSetVersion", "abstract"}
EXPANDING = frozenset({"url", "valueSetVersion", "filter", "offset", "count", "excludeNested", "includeDesignations"})
TRANSLATING = frozenset({"url", "code", "system", "coding", "codeableConcept", "targetsystem", "reverse"})
NO_EQUIVALENT = frozenset({"unmatched", "disjoint"})
UNJUDGED = "the display was not judged: none are held here"

Coding = tuple[str | None, str]  # system, code


async def validate_code_of_system(call: Call) -> Answer:
    """`CodeSystem/$validate-code`: is this a code of the system?"""
    given = await arguments(call, definition("CodeSystem", "validate-code"), IN_SYSTEM)
    url = given.one("url")
    if given.one("code") is not None and url is None:
        raise _misused("a code is asked about with the url of its system")
    codings = _codings(given, url)
    systems = {url} if url else {system for system, _ in codings if system}
    if not all(map(lookup.is_held, systems)):
        raise _unknown("this code system is not held here")
    found = [_same(url, system) and lookup.in_system(system, code) for system, code in codings if system]
    return _judged(given, found, "the code system has no such code")


async def validate_code_of_set(call: Call) -> Answer:
    """`ValueSet/$validate-code`: is this a code of the value set?"""
    given = await arguments(call, definition("ValueSet", "validate-code"), IN_SET)
    url, version = _set_asked(given)
    if given.one("code") is not None and given.one("system") is None:
        raise _misused("a code is asked about with its system")
    codings = _codings(given, given.one("system"))
    found = [lookup.in_valueset(url, version, system, code) for system, code in codings if system]
    return _judged(given, found, "the value set has no such code")


async def expand(call: Call) -> Answer:
    """`ValueSet/$expand`: the codes of a value set, in the order of systems and codes; `filter` looks into codes."""
    given = await arguments(call, definition("ValueSet", "expand"), EXPANDING)
    url, version = _set_asked(given)
    listed = lookup.valueset(url, version)
    if listed is None or isinstance(listed, Unlisted):
        text = "this value set has a grammar or belongs to others: it cannot be listed"
        raise Unprocessable(text, code="terminology-open", issue="too-costly")
    wanted = str(given.one("filter") or "").casefold()
    every = sorted((system, code) for system, codes in listed.items() for code in codes if wanted in code.casefold())
    return Answer(200, encode(_expanded(url.partition("|")[0], given, every, timestamp(call.now.astimezone(UTC)))))


def _expanded(url: str, given: Arguments, every: Sequence[tuple[str, str]], at: str) -> Json:
    offset, count = given.one("offset") or 0, given.one("count")
    if offset < 0 or (count is not None and count < 0):
        raise _misused("offset and count are not below zero")
    page = every[offset:] if count is None else every[offset : offset + count]
    kinds = {"filter": "valueString", "offset": "valueInteger", "count": "valueInteger"}
    said = [{"name": name, kind: given.one(name)} for name, kind in kinds.items() if given.one(name) is not None]
    expansion: Json = {"timestamp": at, "total": len(every), "offset": offset}
    if said:
        expansion["parameter"] = said
    if page:
        expansion["contains"] = [{"system": system, "code": code} for system, code in page]
    return {"resourceType": "ValueSet", "url": url, "status": "active", "expansion": expansion}


async def translate(call: Call) -> Answer:
    """`ConceptMap/$translate`: a code through one map, or through all that begin at its system."""
    given = await arguments(call, definition("ConceptMap", "translate"), TRANSLATING)
    url, target, reverse = given.one("url"), given.one("targetsystem"), bool(given.one("reverse"))
    codings = _codings(given, given.one("system"))
    named = translation.named(url) if url else None
    if url and named is None:
        raise _unknown("this concept map is not held here")
    found: list[Match] = []
    held = named is not None
    for system, code in codings:
        maps = [named] if named else translation.fitting(system, target, reverse=reverse) if system else []
        held = held or bool(maps)
        found += [match for one in maps for match in translation.translate(one, system, code, target, reverse=reverse)]
    if not held:
        raise _unknown("no concept map here translates this code system")
    return Answer(200, encode(_translated(found)))


def _translated(found: Sequence[Match]) -> Json:
    result = any(match.equivalence not in NO_EQUIVALENT for match in found)
    rows: list[Json] = [{"name": "result", "valueBoolean": result}]
    if not found:
        rows.append({"name": "message", "valueString": "the map has no counterpart of this code"})
    return {"resourceType": "Parameters", "parameter": rows + [_match(match) for match in found]}


def _match(match: Match) -> Json:
    coding = {"system": match.system, "code": match.code, "display": match.display}
    concept = {name: value for name, value in coding.items() if value is not None}
    parts: list[Json] = [
        {"name": "equivalence", "valueCode": match.equivalence},
        {"name": "concept", "valueCoding": concept},
        {"name": "source", "valueUri": match.canonical},
    ]
    return {"name": "match", "part": parts}


def _set_asked(given: Arguments) -> tuple[str, str | None]:
    """The value set by its canonical. Raises NotFound for one that is not held."""
    url: str | None = given.one("url")
    version: str | None = given.one("valueSetVersion")
    if url is None:
        raise _misused("a value set is named by its url")
    if lookup.valueset(url, version) is None:
        raise _unknown("this value set is not held here, or not in this version")
    return url, version


def _codings(given: Arguments, system: str | None) -> list[Coding]:
    """What is asked about: a code with its system, a Coding, or a CodeableConcept, of which any coding may do."""
    code, coding, concept = given.one("code"), given.one("coding"), given.one("codeableConcept")
    if sum(one is not None for one in (code, coding, concept)) != 1:
        raise _misused("one of code, coding and codeableConcept is asked about")
    if code is not None:
        return [(system, code)]
    codings = [coding] if coding is not None else concept.get("coding", []) if concept is not None else []
    return list(_read(codings))


def _read(codings: object) -> Iterable[Coding]:
    if not isinstance(codings, list) or not codings:
        raise _misused("what is asked about has no coding")
    for coding in codings:
        system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, dict) else (None, None)
        if not isinstance(code, str) or not isinstance(system, str | None):
            raise _misused("a coding has no code, or no system that is one")
        yield system, code


def _same(url: str | None, system: str) -> bool:
    return url is None or url.partition("|")[0] == system


def _judged(given: Arguments, found: Sequence[bool | None], absent: str) -> Answer:
    """One coding that is in it is enough; where none is and one cannot be told, nothing is."""
    if not any(found) and None in found:
        text = "only a part of this code system is held here, and the code is not in it"
        raise Unprocessable(text, code="terminology-open", issue="not-supported")
    said = [] if any(found) else [absent if found else "the coding names no system"]
    coding = given.one("coding")
    if given.one("display") is not None or (coding is not None and "display" in coding):
        said.append(UNJUDGED)
    rows: list[Json] = [{"name": "result", "valueBoolean": any(found)}]
    if said:
        rows.append({"name": "message", "valueString": "; ".join(said)})
    return Answer(200, encode({"resourceType": "Parameters", "parameter": rows}))


def _misused(text: str) -> BadRequest:
    return BadRequest(text, code="parameter", issue="value")


def _unknown(text: str) -> NotFound:
    return NotFound(text, code="terminology-unknown")
