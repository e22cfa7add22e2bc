"""Problems, goals and pathways (PRB, GOL, PTH): words for statuses, action codes, roles, evidence.

Life-cycle and confirmation statuses are tables of the site's: a word that is one of FHIR's own counts, another one is
kept beside the status and reported, and a profile's row may name a map of the site's. An action code wins over them:
DE takes the statement back, ST stops it, UN unlinks a goal from the problem it stands under.

Source: HL7 v2.9 chapter 12, tables 0287 and 0206; design chapter HL7 v2 §8 (action codes); FHIR R4 con-4, con-5.
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.coded import Coded, cwe_string, read
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, after, finish, function
from mappings.hl7v2.rules.clinical import DELETED
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import Concept, ConceptMap, load

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
_STOPPED, _UNLINKED = "ST", "UN"
_ENDED = frozenset({"inactive", "remission", "resolved"})  # con-4: what may have an abatement
_EVENTS = frozenset({"", "EVN", "EVN.CRT"})  # table 0725: what is so; the other moods wish, expect or promise it
_MOODS = {"PRB": 28, "GOL": 22, "PTH": 7}
_WITHDRAWN = {"Goal": "lifecycleStatus", "CarePlan": "status"}
_LIFE_CYCLE = "prb-14.condition-clinical"
_STOP = {"Goal": "cancelled", "CarePlan": "revoked"}


# words ----------------------------------------------------------------------------------------------------------------


def _word(raw: str, ctx: Any, vocab: ConceptMap | None) -> tuple[Concept | None, Json | None]:
    """(what the map says of the code, else of its text; the value as sent). Case does not count: it is a word."""
    coded = read(raw, ctx, None)
    hit = _hit(coded, vocab)
    if hit is None:
        ctx.issue("vocab-miss")
    return hit, values.concept(list(coded.codings), coded.text)


def _hit(coded: Coded, vocab: ConceptMap | None) -> Concept | None:
    words = [coding.get(name) for coding in coded.codings for name in ("code", "display")]
    for word in (*words, coded.text):
        if word and vocab is not None and (hit := vocab.get(word) or vocab.get(word.casefold())) is not None:
            return hit
    return None


@function("WORD[CodeableConcept]", "CodeableConcept")
def word_concept(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """A status in the site's words: FHIR's coding before the one sent; an unknown word goes beside."""
    hit, sent = _word(raw, ctx, vocab)
    if sent is None:
        return None
    if hit is not None:
        return {**sent, "coding": [values.coding(hit.system, hit.code, hit.display), *sent.get("coding", [])]}
    for coding in sent.get("coding") or [{"display": sent["text"]}]:
        ctx.builder.body.setdefault("extension", []).append({"url": values.SOURCE_CODE, "valueCoding": coding})
    return None


@function("WORD[code]", "code")
def word_code(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Any:
    """The same for an element that holds a bare code."""
    hit, sent = _word(raw, ctx, vocab)
    if hit is not None or sent is None:
        return None if hit is None else hit.code
    return None, values.alternate(sent if "coding" in sent else {"coding": [{"display": sent["text"]}]})


@function("PRB13[clinicalStatus]", "CodeableConcept")
def life_cycle(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PRB-13 where it holds a word of PRB-14, and PRB-14 none."""
    return None if _hit(read(raw, ctx, None), vocab) is None else word_concept(raw, ctx, vocab)


@function("PRB13[verificationStatus]", "CodeableConcept")
def confirmation(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PRB-13 proper: how sure the sender is."""
    if not ctx.seg.field(14) and _hit(read(raw, ctx, None), load(_LIFE_CYCLE)) is not None:
        return None
    return word_concept(raw, ctx, vocab)


# what becomes of a statement -----------------------------------------------------------------------------------------


def action(ctx: Assembly, builder: Builder) -> str:
    """The action code, the first field of PRB, GOL and PTH."""
    return builder.segment.field(1).split(ctx.comp, 1)[0].strip() if builder.segment is not None else ""


@finish("problem_status")
def problem_status(ctx: Assembly, builder: Builder) -> None:
    """PRB-1 over PRB-13 and PRB-14; the end of a problem goes with a status that has one (con-4)."""
    body, stated = builder.body, "clinicalStatus" not in builder.filled
    _doubt(ctx, builder)
    if action(ctx, builder) in DELETED:
        body["verificationStatus"] = _concept("condition-ver-status", "entered-in-error", "Entered in Error")
        for name in ("clinicalStatus", "abatementDateTime", "_abatementDateTime"):
            body.pop(name, None)
        builder.clear += ["clinicalStatus", "abatement[x]"]
        builder.filled.clear()
        return
    if not stated and action(ctx, builder) == _STOPPED:
        _state(builder, "inactive", "Inactive")
    elif not stated and _abated(body):
        _state(builder, "resolved", "Resolved")
    elif stated and body["clinicalStatus"]["coding"][0]["code"] not in _ENDED:
        if _abated(body):
            ctx.issues.append(issue("contradiction", _place(builder, 9), row="@problem_status"))
        for name in ("abatementDateTime", "_abatementDateTime"):
            body.pop(name, None)
        builder.clear.append("abatement[x]")  # what is active has no end, whatever was said of it before


def _doubt(ctx: Assembly, builder: Builder) -> None:
    """A PRB-13 that no table knows may say that the problem is none (`Ruled out`): readers must see its words."""
    if builder.segment is None or "verificationStatus" in builder.body or "clinicalStatus" not in builder.filled:
        return
    raw = builder.segment.field(13).split(ctx.rep)[0]
    if raw and raw != NULL and (words := cwe_string(raw, ctx)):
        builder.body.setdefault("note", []).append({"text": words})


def _abated(body: Json) -> bool:
    return "abatementDateTime" in body or "_abatementDateTime" in body


def _place(builder: Builder, field: int) -> Place | None:
    return None if builder.segment is None else Place(builder.segment.name, builder.segment.nth, field)


def _state(builder: Builder, code: str, display: str) -> None:
    builder.body["clinicalStatus"] = _concept("condition-clinical", code, display)
    builder.filled.remove("clinicalStatus")


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": _SYSTEM + system, "code": code, "display": display}]}


@finish("plan_status")
def plan_status(ctx: Assembly, builder: Builder) -> None:
    """GOL-1, PTH-1: DE is an error, ST the end where no status says which."""
    element, told = _WITHDRAWN[builder.type], action(ctx, builder)
    if told in DELETED:
        builder.body[element] = "entered-in-error"
    elif told == _STOPPED and element in builder.filled:
        builder.body[element] = _STOP[builder.type]
    else:
        return
    if element in builder.filled:
        builder.filled.remove(element)


@finish("unlink")
def unlink(ctx: Assembly, builder: Builder) -> None:
    """GOL-1, PTH-1 UN: the link to the problem around it goes, the statement stays."""
    if action(ctx, builder) != _UNLINKED:
        return
    for each in builder.body.pop("addresses", []):
        builder.clear.append(f"addresses[reference={each['reference']}]")


@finish("evidence")
def evidence(ctx: Assembly, builder: Builder) -> None:
    """The observations below a problem are what speaks for it."""
    below = {id(each) for each in builder.group.groups} if builder.group is not None else set()
    found = [{"reference": other.ref} for other in ctx.made if other.type == "Observation" and id(other.group) in below]
    if found:
        builder.body["evidence"] = [{"detail": found}]


@finish("team_status")
def team_status(ctx: Assembly, builder: Builder) -> None:
    """Those who care for what was entered in error do not."""
    if action(ctx, builder) in DELETED:
        builder.body["status"] = "entered-in-error"


@after("not_stated")
def not_stated(ctx: Assembly) -> None:
    """Segments whose map states another kind of thing than they do: named, not dropped."""
    made = {id(builder.segment) for builder in ctx.made if builder.segment is not None}
    for segment in ctx.message.segments:
        field = _MOODS.get(segment.name)
        if field is not None and segment.field(field) not in ("", NULL) and id(segment) not in made:
            ctx.issues.append(issue("kind-unmapped", Place(segment.name, segment.nth, field), row="@not_stated"))
