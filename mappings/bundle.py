"""A conversion as one Bundle: what `chartbridge convert` writes where there is no store.

`transaction`: PUT of every resource that would be stored · `message`: MessageHeader first · `document`: Composition
first, under the document's own identifier and time · `collection`. References are `urn:uuid:` of the entries'
`fullUrl`; equal input gives equal bytes, but for the `timestamp` of a document whose time nobody can know as an
instant: bdl-10 asks for one, no offset is invented, and what is left is when the Bundle was assembled.

Source: design chapter HL7 v2 §6; FHIR R4 Bundle, bdl-3, bdl-4, bdl-8 to bdl-11.
"""

from typing import TYPE_CHECKING, Any, Final, Literal

from mappings.errors import MappingError
from mappings.identity import PUBLIC_KEY, Identities

if TYPE_CHECKING:
    from mappings.convert import Conversion

Json = dict[str, Any]
Kind = Literal["transaction", "message", "document", "collection"]
_POINTERS: Final = frozenset({"reference", "url", "valueUrl"})  # Attachment.url may name a Binary of the same Bundle
KINDS: Final[tuple[Kind, ...]] = ("transaction", "message", "document", "collection")
_FIRST: Final[dict[Kind, str]] = {"message": "MessageHeader", "document": "Composition"}
_INSTANT: Final = len("2025-01-01T00:00:00")  # what is longer has an offset


class NoSuchBundle(MappingError):
    """A conversion that has not what a kind of Bundle begins with."""


def usual(conversion: "Conversion") -> Kind:
    """What a conversion is written as where nobody asks for a kind: a document stays one."""
    return "document" if _is_first(conversion, "Composition") else "transaction"


def bundle(conversion: "Conversion", kind: Kind = "transaction", assembled: str = "") -> Json:
    """The Bundle; MessageHeader and what only lives in bundles comes with `message` and `collection` as well.

    `assembled`: the time at hand, an instant: that of a document whose own time nobody can know as one.

    Raises NoSuchBundle for a message as `document`, a document as `message`.
    """
    if (first := _FIRST.get(kind)) is not None and not _is_first(conversion, first):
        raise NoSuchBundle(f"a {kind} Bundle begins with a {first}, and there is none")
    mapped = [m for m in conversion.resources if m.mode != "event" or kind != "transaction"]
    urls = {f"{m.body['resourceType']}/{m.body['id']}": f"urn:uuid:{m.body['id']}" for m in conversion.resources}
    entries = []
    for each in mapped:
        reference = f"{each.body['resourceType']}/{each.body['id']}"
        entry: Json = {"fullUrl": urls[reference], "resource": pointed(each.body, urls)}
        if kind == "transaction":
            entry["request"] = {"method": "PUT", "url": reference}
        entries.append(entry)
    identity = Identities(PUBLIC_KEY).make("Bundle", (kind, conversion.digest.hex(), conversion.rows))
    found: Json = {"resourceType": "Bundle", "id": identity, "type": kind, "entry": entries}
    if kind == "message" and (at := _stamp(conversion)) is not None:
        found["timestamp"] = at
    if kind == "document":
        found |= _document([each.body for each in mapped], identity, conversion.instant or assembled)
    if not entries:
        del found["entry"]
    return found


def _is_first(conversion: "Conversion", kind: str) -> bool:
    return bool(conversion.resources) and conversion.resources[0].body["resourceType"] == kind


def _document(bodies: list[Json], identity: str, otherwise: str) -> Json:
    """The document's identifier, this Bundle's own where it has none (bdl-9); its time, as an instant (bdl-10).

    The Composition's identifier is that of all its versions; this one's is the DocumentReference's.
    """
    composition, *others = bodies
    known: Json = next((each["masterIdentifier"] for each in others if "masterIdentifier" in each), {})
    own = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identity}"}
    found: Json = {"identifier": known if "system" in known and "value" in known else own}
    at = composition.get("date", "")
    at = at if len(at) > _INSTANT else otherwise
    return found | ({"timestamp": at} if at else {})


def pointed(value: Any, urls: dict[str, str]) -> Any:
    """The same value with references to the Bundle's own entries written as their `fullUrl`; what holds none is not
    copied, so neither is to be changed."""
    if isinstance(value, dict):
        return _pointed_members(value, urls)
    return _pointed_items(value, urls) if isinstance(value, list) else value


def _pointed_members(value: Json, urls: dict[str, str]) -> Json:
    found = value
    for name, each in value.items():
        kind = each.__class__
        if kind is str:
            if name not in _POINTERS:
                continue
            new: Any = _url(each, urls) if name == "valueUrl" else urls.get(each, each)
        elif kind is dict:
            new = _pointed_members(each, urls)
        elif kind is list:
            new = _pointed_items(each, urls)
        else:
            continue
        if new is not each:
            if found is value:
                found = dict(value)
            found[name] = new
    return found


def _url(each: str, urls: dict[str, str]) -> str:
    """An address, of a part of a resource maybe: where a narrative link leads."""
    whole, mark, part = each.partition("#")
    return f"{urls[whole]}{mark}{part}" if whole in urls else each


def _pointed_items(value: list[Any], urls: dict[str, str]) -> list[Any]:
    found = value
    for index, each in enumerate(value):
        kind = each.__class__
        if kind is dict:
            new: Any = _pointed_members(each, urls)
        elif kind is list:
            new = _pointed_items(each, urls)
        else:
            continue
        if new is not each:
            if found is value:
                found = list(value)
            found[index] = new
    return found


def _stamp(conversion: "Conversion") -> str | None:
    """The time of the message, where it is an instant."""
    times = [each.at for each in conversion.resources if each.mode == "event"]
    return times[0] if times and len(times[0]) > _INSTANT else None
