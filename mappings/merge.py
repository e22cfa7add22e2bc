"""What is stored, and what a message says of it: the pure update rule.

    settled = settle(old, mapped, clock)        # body to store (None: nothing changes), clock, issues

- absent is no statement; what is present replaces, what is in `clear` goes, the rest stays
- `x`, `_x` and every variant of `x[x]` are one element: a new one puts all of them out, and so does a clearing
- lists are replaced whole, but for those in `KEYED`: other authorities' numbers, a stay's history and a report's
  lines are not one sender's to drop
- older than what is stored: fills absent elements only (`late-event`); the event's own effect (`own`) applies even
  late, unless a later event of the same axis is stored
- a document that is only named (what replaces it says so) is of whoever has it: another patient's stays what it is, and
  one that was replaced before it came is superseded
- a `stub` creates what is not there and changes nothing; `state` replaces, under the ranks of `statuses.py`
- where the start of one statement and the end of another contradict each other (per-1), the start stands and the end's
  text beside it (`contradiction`), as within one message
- `meta.security` is never lowered by absence; `link` only grows

Old bodies are never changed: every result is a new dict. Who stores, seals and counts versions is the store's.

Source: design chapter HL7 v2 §8, §9.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mappings import statuses
from mappings.fhir.schema import schema
from mappings.fhir.values import absent
from mappings.hl7v2.periods import is_reversed, straighten
from mappings.issues import Issue, issue
from mappings.places import OVER, ended, joined_period, leave_places, locations, past
from mappings.report_lines import with_lines
from mappings.statuses import ABOUT, RESULTS

if TYPE_CHECKING:
    from mappings.convert import Mapped

Json = dict[str, Any]
_NO_CONTENT = [{"attachment": absent("unknown")}]  # of a document that was only told of
_REPLACED = "superseded"
Clock = Mapping[str, str]  # axis → event time; "" is the whole resource, `own:status` an event's own effect

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_FIXED = frozenset({"resourceType", "id"})
_OF_A_DRUG = frozenset({"MedicationRequest", "MedicationDispense"})  # an administration's number holds its drug
_BEGIN = frozenset({"start", "_start"})
_NOW = ("[status=active;", ";period.end=")  # conditions of paths that ask how it is now


@dataclass(frozen=True, slots=True)
class Settled:
    """`body` to store, None where nothing changes; `clock` to keep with it; what was noticed."""

    body: Json | None
    clock: dict[str, str]
    issues: tuple[Issue, ...]


def merge(old: Json | None, mapped: "Mapped") -> Json:
    """The same without clocks: the newer statement is the one at hand."""
    settled = settle(old, mapped, {})
    return settled.body if settled.body is not None else old or mapped.body


def settle(old: Json | None, mapped: "Mapped", clock: Clock, *, moved: bool = False) -> Settled:
    """What is to be stored once `mapped` was said. `moved`: what is stored under this number is another patient's,
    whom no merge has made the same: of it nothing may reach this one, and an older statement takes nothing back."""
    if mapped.mode == "event" or (mapped.mode == "stub" and old is not None):
        return Settled(None, dict(clock), ())
    if old is None:
        return Settled(mapped.body, {} if mapped.mode == "stub" else _advance(clock, mapped), ())
    if mapped.filled and "extension" in mapped.body:
        mapped = _with_extensions_that_count(old, mapped)
    late = event_time(mapped.at) < event_time(clock.get("", ""))
    if moved and late:
        return Settled(None, dict(clock), (issue("late-event"),))
    if moved and mapped.mode == "update" and _is_told_of(mapped.body):
        return Settled(None, dict(clock), (issue("other-patient"),))
    if moved:
        fresh = _with_labels(mapped.body, old, mapped.body, mapped.clear)
        return Settled(fresh, _advance({}, mapped), (issue("other-patient"),))
    if late:
        return _late(old, mapped, clock)
    kind = mapped.body["resourceType"]
    if mapped.mode == "state":
        body, issues = statuses.replace(old, mapped) if kind in RESULTS else (mapped.body, ())
        issues += _of_another_drug(old, mapped.body) if kind in _OF_A_DRUG else ()
        if body is not None and kind == "DiagnosticReport":
            body, withdrawn = with_lines(old, body, mapped.clear)
            issues += withdrawn
        if body is not None and "text" in old and body.get("text", {}).get("div") == old["text"].get("div"):
            body = {**body, "text": old["text"]}  # the same words link to where they were said first: no new version
        if body is not None and kind == "DocumentReference":
            body = _with_relations(old, body)
            replaced = _is_told_of(old) and old.get("status") == _REPLACED
            if replaced and body.get("status") == "current":  # before it came, whatever the dates say
                body = {**body, "status": _REPLACED}
        return Settled(body and _with_labels(body, old, mapped.body, mapped.clear), _advance(clock, mapped), issues)
    body, issues = _update(old, mapped)
    issues += _of_another_drug(old, mapped.body) if kind in _OF_A_DRUG else ()
    return Settled(body, _advance(clock, mapped), issues)


def _with_extensions_that_count(old: Json, mapped: "Mapped") -> "Mapped":
    """Extensions are one element with many meanings: `extension(url)` in `filled` is for where none of it is stored."""
    held = {f"extension({each.get('url')})" for each in old.get("extension", ())} & set(mapped.filled)
    if not held:
        return mapped
    counting = [each for each in mapped.body["extension"] if f"extension({each.get('url')})" not in held]
    body = {name: value for name, value in mapped.body.items() if name != "extension"}
    return replace(mapped, body=body | ({"extension": counting} if counting else {}))


def _is_told_of(body: Json) -> bool:
    """Whether another document, or a notification, only names a document."""
    return body["resourceType"] == "DocumentReference" and body.get("content") == _NO_CONTENT


def _advance(clock: Clock, mapped: "Mapped") -> dict[str, str]:
    """The clock once the statement counts."""
    found = dict(clock) | {"": mapped.at}
    return found | {f"own:{root}": mapped.at for root in {path.partition(".")[0] for path in mapped.own}}


def event_time(at: str) -> int:
    """Milliseconds of an event time; a date is its first moment, a time without an offset is compared as it stands."""
    if not at:
        return 0
    text = at if len(at) >= 10 else f"{at}-01-01"[:10]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def drugs(body: Json) -> set[tuple[str | None, str]]:
    """(system, code) of what is ordered, dispensed or given; (None, its name) where it has no code."""
    concept: Json = body.get("medicationCodeableConcept") or body.get("vaccineCode") or {}
    reference: str = body.get("medicationReference", {}).get("reference", "")
    for each in body.get("contained", ()):
        if reference == f"#{each['id']}":
            concept = each.get("code", {})
    codes = {(each.get("system", ""), each["code"]) for each in concept.get("coding", ()) if "code" in each}
    name = concept.get("text", "").strip().casefold()
    return codes or ({(None, name)} if name else set())


def _of_another_drug(old: Json, new: Json) -> tuple[Issue, ...]:
    """Where both name the drug in one system, and differently: two orders under one number, or a substitution."""
    held, stated = drugs(old), drugs(new)
    common = {system for system, _ in held} & {system for system, _ in stated}
    differ = bool(common) and not any(each in stated for each in held)
    return (issue("other-drug"),) if differ else ()


# element by element ---------------------------------------------------------------------------------------------------


def _update(old: Json, mapped: "Mapped") -> tuple[Json, tuple[Issue, ...]]:
    new = mapped.body
    filled = {path.partition(".")[0] for path in mapped.filled}
    body = cleared(old, mapped.clear)
    present = _elements(new)
    for element, names in present.items():
        if element in filled and _stands(body, element):
            continue
        _replace(body, new, element, names, mapped)
    issues = _straightened(body)
    if "class" in mapped.own:
        _remember_class(old, body, mapped.at)
    if new["resourceType"] == "Encounter" and body.get("status") in OVER:  # also where an A08 names the bed again
        leave_places(body, mapped.at)
    return _with_contained(_with_labels(statuses.judged(body, new), old, new, mapped.clear), old, new), issues


def _elements(body: Json) -> dict[str, list[str]]:
    """Element name in the standard → the names of the body that are it: `_birthDate` is birthDate."""
    found: dict[str, list[str]] = {}
    members = schema().members(body["resourceType"])
    for name in body:
        if name in _FIXED or name in ("meta", "contained", "text"):
            continue
        element = members.get(name.removeprefix("_"))
        found.setdefault(element.name if element is not None else name, []).append(name)
    return found


def _names_of(body: Json, element: str) -> list[str]:
    """The names under which a body has an element."""
    known = schema().element(body["resourceType"], element)
    names = set(known.names) if known is not None else {element}
    return [name for name in body if name.removeprefix("_") in names]


def _stands(body: Json, element: str) -> bool:
    return any(body[name] != _NO_CONTENT for name in _names_of(body, element))


def _replace(body: Json, new: Json, element: str, names: list[str], mapped: "Mapped") -> None:
    """One element of the new body into the old one."""
    kind = body["resourceType"]
    join = KEYED.get(f"{kind}.{element}") or KEYED.get(element)
    if join is not None and element in body:
        body[element] = join(body[element], new[element], mapped.at)
        return
    if element == "hospitalization" and element in body:
        body[element] = body[element] | new[element]  # admission says how she came, discharge how she went
        return
    if element == "period" and element in body:
        body[element] = joined_period(body[element], new[element])
        return
    for name in _names_of(body, element):
        del body[name]
    for name in names:
        body[name] = new[name]


def _late(old: Json, mapped: "Mapped", clock: Clock) -> Settled:
    """An older statement: absent elements, and the event's own effect where no later one of its axis is stored."""
    if mapped.mode == "state" and mapped.body["resourceType"] in RESULTS:
        held = statuses.held_late(old, mapped)
        return Settled(held, dict(clock), (issue("late-event"),))
    own = {path for path in mapped.own if event_time(mapped.at) >= event_time(clock.get(_axis(path), ""))}
    roots = {path.partition(".")[0] for path in own}
    filled = {path.partition(".")[0] for path in mapped.filled}
    body = cleared(old, tuple(path for path in mapped.clear if _told_late(path, own)))
    for element, names in _elements(mapped.body).items():
        if element in roots and element not in filled:
            _replace(body, past(old, mapped.body, element), element, names, mapped)
        elif not _stands(body, element) and element not in filled and (mapped.mode != "state" or element not in ABOUT):
            for name in names:
                body[name] = mapped.body[name]
        elif element == "period" and "start" not in body[element]:  # an admission that comes after its discharge
            begins = {name: mapped.body[element][name] for name in _BEGIN & mapped.body[element].keys()}
            body[element] = joined_period(begins, body[element])
    issues = (issue("late-event"), *_straightened(body))
    body = statuses.judged(body, mapped.body, late=True)
    body = _with_contained(_with_labels(body, old, _stricter(old, mapped.body), ()), old, mapped.body)
    kept = dict(clock) | {_axis(path): mapped.at for path in own}
    return Settled(body if body != old else None, kept, issues)


def _straightened(body: Json) -> tuple[Issue, ...]:
    """Mends the Periods that were joined of several statements: the resource's own, and those of a stay's places."""
    whole = _fitting(body)
    places = body.get("location", []) if body["resourceType"] == "Encounter" else []
    mended = [_fitting(place) for place in places]
    body |= {"period": whole["period"]} if whole is not body else {}
    body |= {"location": mended} if mended != places else {}
    return (issue("contradiction"),) if whole is not body or mended != places else ()


def _fitting(holder: Json) -> Json:
    """The same where its period does not end before it begins; never changed in place, it may be what is stored."""
    period = holder.get("period")
    if not isinstance(period, dict) or not is_reversed(period):
        return holder
    period = dict(period)
    straighten(period)
    return {**holder, "period": period}


def _told_late(path: str, own: set[str]) -> bool:
    """Whether an older statement clears a path: its own effect, but for what is the case now, for that came later."""
    now = any(condition in path for condition in _NOW)
    return not now and (path.partition("[")[0] in own or path in own)


def _stricter(old: Json, new: Json) -> Json:
    """Of an older statement's labels, those that do not take the place of a newer confidentiality."""
    held = any(s.get("system") == CONFIDENTIALITY for s in old.get("meta", {}).get("security", ()))
    stated = new.get("meta", {}).get("security", [])
    return {"meta": {"security": [s for s in stated if not held or s.get("system") != CONFIDENTIALITY]}}


def _axis(path: str) -> str:
    return f"own:{path.partition('.')[0]}"


def _remember_class(old: Json, body: Json, at: str) -> None:
    """A06, A07: the class the stay had, until now."""
    before, now = old.get("class", {}), body.get("class", {})
    if before.get("code") in (None, now.get("code")):
        return
    history = body.get("classHistory", [])
    start = history[-1]["period"].get("end") if history else old.get("period", {}).get("start")
    period = ended({"start": start} if start else {}, at)
    body["classHistory"] = [*history, {"class": before, "period": period}]


# lists that are joined by key -----------------------------------------------------------------------------------------

Join = Callable[[list[Json], list[Json], str], list[Json]]


def _by_key(key: Callable[[Json], Any]) -> Join:
    """New elements replace those of the same key; the others stay where they were."""

    def join(old: list[Json], new: list[Json], at: str) -> list[Json]:
        coming = {key(each): each for each in new}
        kept = [coming.pop(key(each), each) for each in old]
        return kept + list(coming.values())

    return join


def _identifiers(old: list[Json], new: list[Json], at: str) -> list[Json]:
    """By system and value; a number marked old stays so where a later message carries it without a word on its use."""
    held = {(each.get("system"), each.get("value")): each for each in old if each.get("use") == "old"}
    marked = []
    for each in new:
        former = held.get((each.get("system"), each.get("value"))) if "use" not in each else None
        marked.append(each if former is None else each | {k: former[k] for k in ("use", "period") if k in former})
    return _by_key(lambda each: (each.get("system"), each.get("value")))(old, marked, at)


def _extensions(old: list[Json], new: list[Json], at: str) -> list[Json]:
    urls = {each.get("url") for each in new}
    return [each for each in old if each.get("url") not in urls] + new


def _reference(each: Json, name: str) -> str:
    found = each.get(name, {})
    return str(found.get("reference") or found.get("display") or found.get("identifier"))


def _participants(old: list[Json], new: list[Json], at: str) -> list[Json]:
    """By role and person; who held a role that others hold now, held it until now."""

    def role(each: Json) -> tuple[str, ...]:
        return tuple(coding.get("code", "") for kind in each.get("type", ()) for coding in kind.get("coding", ()))

    joined = _by_key(lambda each: (role(each), _reference(each, "individual")))(old, new, at)
    now = {(role(each), _reference(each, "individual")) for each in new}
    roles = {each for each, _ in now}
    for index, each in enumerate(joined):
        held, open_ = (role(each), _reference(each, "individual")), "end" not in each.get("period", {})
        if held[0] in roles and held not in now and open_ and at:
            period = ended(each.get("period", {}), at)
            joined[index] = {**each} | ({"period": period} if period else {})
    return joined


def _actor(each: Json) -> tuple[str, str]:
    """One person may take part in an appointment in several roles."""
    return _reference(each, "actor"), repr(each.get("type"))


KEYED: dict[str, Join] = {
    "identifier": _identifiers,
    "extension": _extensions,
    "modifierExtension": _extensions,
    "link": _by_key(lambda each: (_reference(each, "other"), each.get("type"))),
    "Encounter.location": locations,
    "Encounter.participant": _participants,
    "Encounter.classHistory": _by_key(
        lambda each: (each.get("class", {}).get("code"), each.get("period", {}).get("start"))
    ),
    "Encounter.statusHistory": _by_key(lambda each: (each.get("status"), each.get("period", {}).get("start"))),
    # with action codes a message names changes only; without, it clears the lists first
    "Appointment.participant": _by_key(_actor),
    "Appointment.serviceType": _by_key(repr),
    "Appointment.basedOn": _by_key(repr),
    "CareTeam.participant": _by_key(
        lambda each: (
            *(coding.get("code", "") for kind in each.get("role", ()) for coding in kind.get("coding", ())),
            _reference(each, "member"),
        )
    ),
    "Account.coverage": _by_key(lambda each: _reference(each, "coverage")),
    # a goal under one problem says nothing of the others it addresses; unlinking is said aloud
    "Goal.addresses": _by_key(lambda each: each.get("reference")),
    "CarePlan.addresses": _by_key(lambda each: each.get("reference")),
    "CarePlan.goal": _by_key(lambda each: each.get("reference")),
    # a certificate that is granted says nothing of the degrees
    "Practitioner.qualification": _by_key(
        lambda each: repr(each.get("identifier") or (each.get("code"), each.get("issuer")))
    ),
}


def _with_relations(old: Json, body: Json) -> Json:
    """What a document replaces or appends to is said once, and stays when it is edited."""
    stated = body.get("relatesTo", [])
    kept = [each for each in old.get("relatesTo", ()) if each not in stated]
    return {**body, "relatesTo": kept + stated} if kept else body


# labels, contained ----------------------------------------------------------------------------------------------------


def _with_labels(body: Json, old: Json, new: Json, clear: tuple[str, ...]) -> Json:
    """Labels stay until one is taken back aloud; of confidentialities the newest that is stated counts."""
    stored = [] if "meta.security" in clear else old.get("meta", {}).get("security", [])
    stated = new.get("meta", {}).get("security", [])
    if any(label.get("system") == CONFIDENTIALITY for label in stated):
        stored = [label for label in stored if label.get("system") != CONFIDENTIALITY]
    labels = stored + [label for label in stated if label not in stored]
    meta = old.get("meta", {}) | new.get("meta", {})
    meta = {name: value for name, value in meta.items() if name != "security"}
    meta |= {"security": labels} if labels else {}
    return {name: value for name, value in body.items() if name != "meta"} | ({"meta": meta} if meta else {})


def _with_contained(body: Json, old: Json, new: Json) -> Json:
    """Contained resources that something still points to."""
    inside = {each["id"]: each for each in (*old.get("contained", ()), *new.get("contained", ()))}
    if not inside:
        return body
    used = set(_local_references({name: value for name, value in body.items() if name != "contained"}))
    kept = [each for id_, each in inside.items() if id_ in used]
    return {
        **{name: value for name, value in body.items() if name != "contained"},
        **({"contained": kept} if kept else {}),
    }


def _local_references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["reference"][1:]] if str(value.get("reference", "")).startswith("#") else []
        return found + [each for inner in value.values() for each in _local_references(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _local_references(inner)]
    return []


# clearing -------------------------------------------------------------------------------------------------------------


def cleared(body: Json, paths: tuple[str, ...]) -> Json:
    """A copy of the body without what the sender nulled.

    Paths: `gender`, `period.end`, `value[x]`, `extension(url)`, `participant[type=ATND]`, with several conditions
    `participant[type=ATND;individual!=Practitioner/1;period.end=]` (an empty value: absent).
    """
    found = dict(body)
    for path in paths:
        if path == "meta.security" or path.startswith("result["):
            continue
        if path.startswith("extension("):
            _drop(found, "extension", _extends(path[10:-1]))
        elif path.endswith("]") and not path.endswith("[x]"):
            name, _, told = path[:-1].partition("[")
            _drop(found, name, _matcher(told))
        elif "." in path:
            head, _, rest = path.partition(".")
            if isinstance(found.get(head), dict):
                inner = {name: value for name, value in found[head].items() if name.removeprefix("_") != rest}
                found[head] = inner
                if not inner:
                    del found[head]
        else:
            for name in _names_of(found, path):
                del found[name]
    return found


def _drop(body: Json, name: str, gone: Callable[[Json], bool]) -> None:
    """Takes elements out of a list, and the list if nothing is left."""
    if name in body:
        body[name] = [each for each in body[name] if not gone(each)]
        if not body[name]:
            del body[name]


def _matcher(told: str) -> Callable[[Json], bool]:
    """Whether an element meets every condition that a path tells."""
    conditions = [_condition(each) for each in told.split(";")]
    return lambda each: all(meets(each) for meets in conditions)


def _extends(url: str) -> Callable[[Json], bool]:
    return lambda each: each.get("url") == url


def _condition(told: str) -> Callable[[Json], bool]:
    """Whether a child is, or codes, or refers to what is told; with `!=`, is not; with nothing told, is absent."""
    path, _, value = told.partition("=")
    name, unequal = path.removesuffix("!"), path.endswith("!")

    def says(found: Any) -> bool:
        if isinstance(found, list):
            return any(says(each) for each in found)
        if isinstance(found, dict):
            return value in (found.get("code"), found.get("reference")) or any(
                coding.get("code") == value for coding in found.get("coding", ())
            )
        return bool(found == value)

    def meets(each: Json) -> bool:
        found: Any = each
        for step in name.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        return found is None if not value else says(found) != unequal

    return meets


# snapshots ------------------------------------------------------------------------------------------------------------


def close(old: Json, at: str) -> Json:
    """What a snapshot no longer lists, ended: nothing is deleted."""
    body = dict(old)
    kind = body["resourceType"]
    if kind == "Coverage":
        body["status"] = "cancelled"
    elif kind == "Account":
        body["status"] = "inactive"
    elif kind in ("RelatedPerson", "Patient", "Practitioner"):
        body["active"] = False
    if schema().element(kind, "period") is not None and (period := ended(body.get("period", {}), at)):
        body["period"] = period  # what was yet to begin has no end: it is cancelled
    return body
