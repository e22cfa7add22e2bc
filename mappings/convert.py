"""READ FIRST. Bytes of one message or document in, FHIR R4 out: `to_fhir(data, profile) -> Conversion`.

0. look at the first bytes: `MSH` is HL7 v2, `<` a document (`cda/convert.py`); a batch header means "split first"
1. read the message (`hl7v2/message.py`)
2. its structure, family and groups (`hl7v2/structure.py`)
3. run the rows, link, apply the named rules (`hl7v2/assemble.py`)
4. hand out what was made, in the order of the message, with every issue
5. documents inside of the message (`embedded.py`), after it

Pure: the profile carries the ids' key, `at` the time of receipt. Same input, same output. What is stored is not
known here: `merge.py` joins a conversion with it.

Source: design chapter HL7 v2 §1, §6.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from mappings.bundle import bundle
from mappings.cda.outcome import Outcome
from mappings.hl7v2 import keys, message, occurrences, structure
from mappings.hl7v2.assemble import Assembly, Builder, assemble
from mappings.hl7v2.effects import Close, Effect, Reach, Repoint, Undo
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.header import QUERIES
from mappings.hl7v2.message import separators
from mappings.hl7v2.place import Place
from mappings.hl7v2.time import moment_of
from mappings.hl7v2.wiring import Mode
from mappings.hooks import HookFailed
from mappings.issues import Issue, issue
from mappings.mapped import Mapped
from mappings.profile import KEPT, Profile, load_profile
from mappings.rows.trace import Trace

BATCH_HEADERS = (b"FHS", b"BHS")
_FIRST = attrgetter("first")
_HEAD = 256
RESULT_TYPES = frozenset({"DiagnosticReport", "Observation"})

__all__ = [
    "Close", "Conversion", "Effect", "Issue", "Mapped", "Mode", "PatientKey", "Profile", "Reach", "Repoint",
    "Trace", "Undo", "UnreadableMessage", "bundle", "load_profile", "patient_keys", "to_fhir",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conversion:
    """All that one message says. `digest` is SHA-256 of the bytes, `rows` the mapping revision that made it."""

    resources: tuple[Mapped, ...]
    effects: tuple[Effect, ...]
    issues: tuple[Issue, ...]
    trace: Trace | None
    digest: bytes
    rows: str
    filtered: str = ""  # id of the profile's filter that took the message out: journaled, acknowledged, not mapped
    tally: tuple[Outcome, ...] = ()  # of a document: what became of each statement
    instant: str = ""  # of a document: when it was made, as exactly as a Bundle has to say it

    def __post_init__(self) -> None:
        for given in (self.resources, self.effects, self.issues):
            if not isinstance(given, tuple):
                raise TypeError("resources, effects and issues are tuples")


@dataclass(frozen=True, slots=True)
class PatientKey:
    """A patient that a message names: the id its facts will have, and the number it was made of."""

    id: str
    key: tuple[str, ...]
    retired: bool = False  # named by MRG


def to_fhir(
    data: bytes, profile: Profile, *, at: datetime | None = None, trace: bool = False, events: bool = True
) -> Conversion:
    """The whole conversion. `at`: time of receipt, the last resort for an instant. Raises UnreadableMessage.

    `events=False` leaves out what lives in bundles only (mode `event`: MessageHeader and whom it alone names), for
    callers that store.
    """
    if is_document(data):  # 0
        from mappings.cda import convert as documents  # here: a feed of messages never loads it

        return documents.to_fhir(data, profile, at=at, trace=trace)
    if data.lstrip()[:3] in BATCH_HEADERS:
        raise UnreadableMessage("batch", text="a batch: split it first")
    read = profile.read(data)  # 1
    assembly = _prepare(read, profile, at)
    assembly.events = events
    for each in profile.filters:
        if each.when(read.msh, assembly):
            digest = bytes.fromhex(assembly.shared["digest"])
            return Conversion((), (), tuple(assembly.issues), None, digest, profile.revision, each.id)
    if read.code in QUERIES:
        raise UnreadableMessage("query", Place("MSH", field=9), "a query states nothing: the FHIR API answers queries")
    occurrences.one_patient(assembly, assembly.shared["structure"])
    if trace:
        _trace(assembly, profile)
    assemble(assembly)  # 3
    made = sorted(assembly.made, key=_FIRST)  # 4: the header is made first, and the sort is stable
    if len(made) > profile.most_resources:
        raise UnreadableMessage("over-limit", text="too many resources")
    times, downgrade = _times(assembly), profile.policy["downgrade"] == "apply"
    conversion = Conversion(
        resources=tuple([_mapped(builder, times, downgrade) for builder in made]),
        effects=tuple(assembly.effects),
        issues=tuple(assembly.issues),
        trace=assembly.trace,
        digest=bytes.fromhex(assembly.shared["digest"]),
        rows=profile.revision,
    )
    if _embeds(assembly):  # 5
        from mappings import embedded

        conversion = embedded.with_documents(conversion, assembly, profile, at, events=events)
    assembly.release()
    for hook in profile.hooks.after:
        conversion = hook(conversion, Conversion)
    return conversion


def is_document(data: bytes) -> bool:
    """Whether the bytes look like XML, in any encoding a document may have; HL7 v2 never begins with `<`."""
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith((b"<", b"\xff\xfe<\x00", b"\xfe\xff\x00<", b"<\x00", b"\x00<"))


def _embeds(assembly: Assembly) -> bool:
    """Whether the message may hold documents: nearly none does."""
    if assembly.wiring.name == KEPT:
        return False
    return any(each.name == "OBX" and each.field(2).strip().upper() == "ED" for each in assembly.message.segments)


def _prepare(read: message.Message, profile: Profile, at: datetime | None) -> Assembly:
    """Step 2: structure and groups; an unknown structure keeps every segment."""
    row = structure.structure_of(read)
    wiring = profile.family(row.family if row is not None else KEPT)
    grouped = structure.group(read, wiring.family)
    assembly = Assembly(read, profile, wiring, grouped.root, grouped.placed, _digest(read))
    assembly.shared["digest"] = hashlib.sha256(read.raw).hexdigest()
    assembly.at = at.isoformat() if at is not None else None
    assembly.shared["structure"] = row.structure if row is not None and wiring.name != KEPT else ""
    if wiring.name != KEPT:
        assembly.issues += grouped.issues
        assembly.issues += occurrences.report(grouped.placed, assembly.shared["structure"])
    if row is None:
        assembly.issues.append(issue("unknown-event", Place("MSH", field=9)))
    return assembly


def _digest(read: message.Message) -> bytes:
    """The message's digest with MSH-7 blanked: a sender that repeats a message stamps it anew."""
    raw, mark = read.raw, read.sep.field.encode("utf-8")
    parts = raw.split(mark, 7) if len(mark) == 1 and raw.startswith(b"MSH") else []
    if len(parts) < 8 or b"\r" in parts[6] or b"\n" in parts[6]:
        return message.digest_without_time(raw)
    blanked = hashlib.sha256(mark.join(parts[:6]))
    blanked.update(mark + mark + parts[7])
    return blanked.digest()


def _trace(assembly: Assembly, profile: Profile) -> None:
    found = assembly.trace = Trace()
    assembly.traced = profile.maps.rows.traced.bind(hit=found.hit, miss=found.miss, place_hits=found.place_hits)


def _times(assembly: Assembly) -> tuple[str, dict[int, str]]:
    """(time of the message's statements: EVN-2, else MSH-7, else receipt; result time by segment: OBR-22)."""
    evn = assembly.message.first("EVN")
    general = _instant(evn.field(2), assembly) if evn is not None else ""
    general = general or _instant(assembly.message.msh.field(7), assembly) or assembly.at or ""
    results: dict[int, str] = {}
    latest = ""
    for segment in assembly.message.segments:
        if segment.name == "OBR":
            latest = _instant(segment.field(22), assembly)
        if latest:
            results[segment.ordinal] = latest
    return general, results


def _instant(raw: str, assembly: Assembly) -> str:
    """A time to order statements by; without an offset it counts as it stands, for one feed has one clock."""
    lexeme = raw.split(assembly.rep, 1)[0].split(assembly.comp, 1)[0].strip()
    if not lexeme:
        return ""
    moment = assembly.times.get(lexeme) or moment_of(lexeme, assembly.zone)
    value: str = moment.value or ""
    if len(value) == 10 and len(lexeme) > 11:
        return (moment_of(f"{lexeme}+0000", assembly.zone).value or value).removesuffix("Z").removesuffix("+00:00")
    return value


def _mapped(builder: Builder, times: tuple[str, dict[int, str]], downgrade: bool) -> Mapped:
    at, results = times
    if builder.make is None and builder.mode == "stub":
        return Mapped(builder.body, "stub", (), (), (), at, (builder.first,), None, downgrade)
    if results and builder.type in RESULT_TYPES and builder.segment is not None:
        at = results.get(builder.segment.ordinal, at)
    clear = builder.clear
    return Mapped(
        builder.body,
        builder.mode,
        tuple(dict.fromkeys(clear)) if clear else (),
        tuple(builder.filled),
        tuple(builder.own),
        at,
        tuple(builder.sources),
        builder.into,
        downgrade,
        builder.was,
    )


def patient_keys(data: bytes, profile: Profile) -> tuple[PatientKey, ...]:
    """The patients a message names, by the rule that gives their resources ids: PID-3 (else PID-2) and MRG-1.

    For lanes at receipt: only these segments are read, where the bytes are plain. Bytes that are no message name
    nobody.
    """
    try:
        if is_document(data):
            from mappings.cda import convert as documents

            return documents.patient_keys(data, profile)
        scanned = _scan(data) if not profile.hooks.before else None
        known = _scanned_keys(*scanned, profile) if scanned is not None else None
        found = known if known is not None else _read_keys(data, profile)
    except (UnreadableMessage, HookFailed):
        return ()
    named: dict[str, PatientKey] = {}
    for key, retired in found:
        id_ = profile.identities.make("Patient", key)
        named.setdefault(id_, PatientKey(id_, key, retired))
    return tuple(named.values())


def _scan(data: bytes) -> tuple[message.Separators, list[list[str]]] | None:
    """(separators, fields of each PID and MRG in order) of a message in plain ASCII; None where care is needed."""
    if not data.startswith(b"MSH") or not data.isascii() or b"\n" in data or b"\x1b" in data:
        return None
    text = data.decode("ascii")
    sep, repeated = separators(text)
    if repeated or "\rpid" in text or "\rmrg" in text:
        return None
    found: list[tuple[int, list[str]]] = []
    for mark in ("\rPID", "\rMRG"):
        start = text.find(mark)
        while start >= 0:
            end = text.find("\r", start + 1)
            after = text[end + 1 : end + 5] if end >= 0 else ""
            if text[start + 4 : start + 5] != sep.field or (
                after and (after[3:] != sep.field or not after[:3].isalnum())
            ):
                return None
            found.append((start, text[start + 1 : end if end >= 0 else len(text)].split(sep.field)))
            start = text.find(mark, start + 1)
    found.sort()
    return sep, [fields for _, fields in found]


def _scanned_keys(
    sep: message.Separators, segments: list[list[str]], profile: Profile
) -> list[tuple[keys.Key, bool]] | None:
    """(key, whether MRG names it) of each; None where a patient is known by her place only."""
    scan = keys.Scan(sep, profile)
    found: list[tuple[keys.Key, bool]] = []
    for fields in segments:
        fields += ["", "", "", ""]
        if any(sep.esc in field for field in fields[1:4]):
            return None  # what an escape means the whole message says
        if fields[0] == "PID":
            key = keys.choose_identity(fields[3].split(sep.rep), scan) or keys.identifier(fields[2], scan)
            if key is None:
                return None
            found.append((key, False))
        elif (key := keys.choose_identity(fields[1].split(sep.rep), scan)) is not None:
            found.append((key, True))
    return found


def _read_keys(data: bytes, profile: Profile) -> list[tuple[keys.Key, bool]]:
    """The same of any message, read with all care."""
    read = profile.read(data)
    assembly = Assembly(read, profile, profile.family(KEPT), structure.Group(structure.ROOT), (), _digest(read))
    found: list[tuple[keys.Key, bool]] = []
    for segment in read.segments:
        assembly.seg = segment
        if segment.name == "PID":
            found.append((keys.known_patient(segment, assembly) or keys.position(segment, assembly), False))
        elif segment.name == "MRG" and (key := keys.choose_identity(segment.reps(1), assembly)) is not None:
            found.append((key, True))
    return found
