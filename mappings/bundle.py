"""A conversion as one Bundle: what `chartbridge convert` writes where there is no store.

`transaction`: PUT of every resource that would be stored · `message`: MessageHeader first · `collection`.
References are `urn:uuid:` of the entries' `fullUrl`; equal input gives equal bytes.

Source: design chapter HL7 v2 §6; FHIR R4 Bundle, bdl-3, bdl-4, bdl-8.
"""

from typing import TYPE_CHECKING, Any, Literal

from mappings.identity import PUBLIC_KEY, Identities

if TYPE_CHECKING:
    from mappings.convert import Conversion

Json = dict[str, Any]
Kind = Literal["transaction", "message", "collection"]
_POINTERS = frozenset({"reference", "url"})  # Attachment.url may name a Binary of the same Bundle
KINDS: tuple[Kind, ...] = ("transaction", "message", "collection")


def bundle(conversion: "Conversion", kind: Kind = "transaction") -> Json:
    """The Bundle; MessageHeader and what only lives in bundles comes with `message` and `collection` as well."""
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
    if not entries:
        del found["entry"]
    return found


def pointed(value: Any, urls: dict[str, str]) -> Any:
    """The same value with references to the Bundle's own entries written as their `fullUrl`."""
    if isinstance(value, dict):
        return {
            name: urls.get(each, each) if name in _POINTERS and isinstance(each, str) else pointed(each, urls)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [pointed(each, urls) for each in value]
    return value


def _stamp(conversion: "Conversion") -> str | None:
    """The time of the message, where it is an instant."""
    times = [each.at for each in conversion.resources if each.mode == "event"]
    return times[0] if times and len(times[0]) > len("2025-01-01T00:00:00") else None
