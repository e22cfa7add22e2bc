"""What the fuzzer runs: each target takes any bytes, and raises only if a promise is broken.

The promise is always the first: no input raises anything but our errors. Beside it, what each target says: a message
or a document becomes resources that fit R4 with its constraints; frames do not depend on how the bytes were cut; what
was read is written back and read as the same. `make fuzz` runs them (`__main__.py`); `test_targets.py` keeps them
honest.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from lxml import etree

from adapter.inbound.mllp import CLOSED, NEED_DATA, FrameReader
from mappings.cda.document import parse
from mappings.cda.element import short
from mappings.cda.errors import UnreadableDocument
from mappings.cda.narrative import block, from_xhtml, to_xhtml
from mappings.cda.paths import STATEMENTS
from mappings.convert import Conversion, UnreadableMessage, bundle, patient_keys, to_fhir
from mappings.errors import MappingError
from mappings.fhir import fhirpath
from mappings.fhir.codec import BytesError, check_bytes, decode, encode
from mappings.fhir.fhirpath import Env, FhirpathError
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate, written
from mappings.hl7v2 import charset, escape, header, message
from mappings.hl7v2.context import Context
from mappings.rows.condition import fields_of, fold, parse_condition
from tests.fuzz import documents, messages
from tests.fuzz.choices import Choices
from tests.mappings.cda import contexts
from tests.mappings.cda.narratives import H, around, grown, harmless
from tests.mappings.fhir.samples import RESOURCES
from tests.mappings.hl7v2.messages import default

Target = Callable[[bytes], None]


def converts(data: bytes) -> None:
    """A message gives resources that fit R4 and keep its constraints, or our error; the same ones each time."""
    with suppress(MappingError):
        patient_keys(data, default())
    try:
        conversion = to_fhir(data, default())
    except UnreadableMessage:
        return
    fits(conversion)


def fits(conversion: Conversion) -> None:
    """Every resource is R4's, by itself and in a Bundle, and is written as it is."""
    for mapped in conversion.resources:
        kind = mapped.body["resourceType"]
        assert not (faults := validate(mapped.body)), (kind, faults[:3])
        assert not (faults := broken(mapped.body)), (kind, faults[:3])
        data = encode(mapped.body)
        assert written(mapped.body) == (data, ())
        check_bytes(data)
    names = [(mapped.body["resourceType"], mapped.body["id"]) for mapped in conversion.resources]
    assert len(set(names)) == len(names), "one resource twice"
    assert not (faults := validate(bundle(conversion))), ("Bundle", faults[:3])


def any_message(data: bytes) -> None:
    """Bytes as they are."""
    header.peek(data)
    header.digest_without_time(data)
    with suppress(UnreadableMessage):
        read = message.parse(data)
        for segment in read.segments:
            for number in range(1, 5):
                segment.reps(number)
    converts(data)


def built_message(data: bytes) -> None:
    converts(messages.built(Choices(data)))


def changed_message(data: bytes) -> None:
    converts(messages.changed(Choices(data)))


def _events(pieces: list[bytes]) -> list[Any]:
    reader, found = FrameReader(limit=200, junk_limit=50), []
    for piece in (*pieces, b""):
        reader.receive_data(piece)
        while (event := reader.next_event()) not in (NEED_DATA, CLOSED):
            found.append(event)
    return found


def frames(data: bytes) -> None:
    """However the bytes are cut, the frames are the same. Junk is told when it is over: its counts are added up."""
    choices = Choices(data)
    sizes = [choices.number(9) + 1 for _ in range(8)]
    wire = choices.rest()
    pieces: list[bytes] = []
    at = 0
    while at < len(wire):
        size = sizes[len(pieces) % 8]
        pieces.append(wire[at : at + size])
        at += size
    assert _events(pieces) == _events([wire] if wire else [])


def charsets(data: bytes) -> None:
    """Any bytes have a text under any name of a character set, and the text says which it was."""
    choices = Choices(data)
    name = choices.one(sorted(_NAMES))
    codec = charset.codec_of(name)
    content = choices.rest()
    for trust in ("detect", "declared"):
        for text in (content, b"MSH|^~\\&|A|B|C|D|||ADT^A08|1|P|2.5||||||" + name.encode() + b"\rPID|" + content):
            assert isinstance(charset.decode(text, codec, trust).text, str)


_NAMES: Final = frozenset(
    "ASCII|8859/1|8859/2|8859/5|8859/15|ISO IR6|ISO IR14|ISO IR87|ISO IR159|GB 18030-2000|KS X 1001|CNS 11643-1992"
    "|BIG-5|UNICODE|UNICODE UTF-8|UNICODE UTF-16|UNICODE UTF-32|UTF-8|ISO-8859-1|Shift-JIS|x".split("|")
)


def escapes(data: bytes) -> None:
    """Any text unescapes, to no more than its sequences may ask for."""
    choices = Choices(data)
    name = choices.one(("UNICODE UTF-8", "8859/1", "ISO IR87", "8859/1~ISO IR87", "GB 18030-2000"))
    raw = choices.rest().decode("utf-8", "replace").replace("\r", " ").replace("\n", " ")
    head = f"MSH|^~\\&|A|B|C|D|||ADT^A08|1|P|2.5||||||{name}\rOBX|1|ST|||x"
    ctx = Context(message.parse(head.encode()), default())
    ctx.seg, ctx.field = ctx.message.segments[-1], 5
    assert len(escape.unescape(raw, ctx)) <= 256 * len(raw)


def conditions(data: bytes) -> None:
    """The `when` language refuses with ValueError, which the compiler tells with file and line; else it folds."""
    try:
        condition = parse_condition(data.decode("utf-8", "replace"))
        list(fields_of(condition))
        fold(condition, {"k": "v"})
    except ValueError:
        return


def expressions(data: bytes) -> None:
    """FHIRPath is refused when it is compiled, or asks of a resource what it cannot answer."""
    try:
        compiled = fhirpath.compile(data.decode("utf-8", "replace"))
    except FhirpathError:
        return
    for resource in RESOURCES.values():
        with suppress(FhirpathError):
            compiled(resource, Env(resource))
        with suppress(FhirpathError):
            compiled.truth(resource)


def resources(data: bytes) -> None:
    """JSON from outside is refused with our error, or written back as the same; any of it can be judged."""
    try:
        resource = check_bytes(data)
    except BytesError:
        return
    canonical = encode(resource)
    assert encode(decode(canonical)) == canonical
    assert encode(check_bytes(canonical)) == canonical
    if not validate(resource):
        broken(resource, warnings=True)


def any_document(data: bytes) -> None:
    """Bytes as they are: a tree, or our error, and nothing else."""
    with suppress(UnreadableDocument):
        parse(data)
        document(data)


def changed_document(data: bytes) -> None:
    document(documents.changed(Choices(data)))


def document(data: bytes) -> None:
    """Every statement of a document has one outcome and none failed, every reference leads somewhere, each time the
    same; and none of it depends on being traced."""
    with suppress(MappingError):
        patient_keys(data, default())
    try:
        conversion = to_fhir(data, default())
    except UnreadableDocument:
        return
    fits(conversion)
    failed = [outcome for outcome in conversion.tally if outcome.outcome == "error"]
    assert not failed, failed
    read = parse(data)
    statements = {read.place(el) for el in read.root.iter("*") if short(str(el.tag)) in STATEMENTS}
    told = {outcome.place: outcome.outcome for outcome in conversion.tally}
    assert len(told) == len(conversion.tally)
    assert statements <= told.keys()
    assert {told[place] for place in told.keys() - statements} <= {"unsupported"}  # what no CDA knows in an entry
    bodies = [mapped.body for mapped in conversion.resources]
    known = {f"{body['resourceType']}/{body['id']}" for body in bodies}
    led = {ref for body in bodies for ref in _references(body) if not ref.startswith(("#", "http", "urn:"))}
    assert led <= known, sorted(led - known)
    again = to_fhir(data, default(), trace=True)
    assert encode({"": bodies}) == encode({"": [mapped.body for mapped in again.resources]})
    assert (conversion.issues, conversion.tally) == (again.issues, again.tally)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def datatypes(data: bytes) -> None:
    """Any element, read as any datatype, gives nothing or what R4 takes."""
    name, el = documents.datatype(Choices(data))
    found = etree.tostring(el, encoding="unicode", with_tail=False)
    ctx = contexts.context(found, narrative='<content ID="t1">said <br/> so</content>')
    contexts.collecting(ctx)
    contexts.on(name, contexts.element(ctx), ctx)


def narratives(data: bytes) -> None:
    """Any narrative is harmless XHTML, whole and in parts, and its words come back."""
    top = grown(documents.narrative(Choices(data)))
    for div in (to_xhtml(top, "s1-", around(top)), *(block(each, "s1-") for each in top.iter(f"{H}*"))):
        if div is not None:
            harmless(div)
            back = grown(from_xhtml(div))
            harmless(to_xhtml(back, "s1-", around(back)) or div)


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        any_message,
        built_message,
        changed_message,
        frames,
        charsets,
        escapes,
        conditions,
        expressions,
        resources,
        any_document,
        changed_document,
        datatypes,
        narratives,
    )
}
