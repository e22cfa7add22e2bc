"""Bundles of released resources, put together from stored bytes: nothing is encoded a second time.

Members stand in the canonical order, so a Bundle is as canonical as what it holds. http://hl7.org/fhir/R4/bundle.html
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from adapter.access.disclose import Disclosed, Released
from adapter.api.conditions import etag
from ledger.event import timestamp
from mappings.fhir.codec import encode

Links = Sequence[tuple[str, str]]

_CERTAIN = (  # http://hl7.org/fhir/R4/extension-match-grade.html
    b'{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/match-grade","valueCode":"certain"}],'
    b'"mode":"match","score":1.0}'
)
# A new resource is told as the PUT that makes it: whether a POST did, a feed or a client's PUT, is not kept, and a POST
# would claim that the server chose the id.
_METHODS = {"c": ("PUT", "201"), "u": ("PUT", "200"), "d": ("DELETE", "204")}


def searchset(released: Released, base: str, links: Links, outcome: bytes, body: Callable[[Disclosed], bytes]) -> bytes:
    """The page of a search, each resource in the form that `body` gives it; `outcome` says what was left out."""
    entries = [_found(item, base, b"match", body) for item in released.items]
    entries += [_found(item, base, b"include", body) for item in released.included.items]
    if outcome:
        entries.append(b'{"resource":%s,"search":{"mode":"outcome"}}' % outcome)
    return _bundle("searchset", entries, links, released.total)


def _found(item: Disclosed, base: str, mode: bytes, body: Callable[[Disclosed], bytes]) -> bytes:
    url = _text(f"{base}/{item.type}/{item.id}")
    return b'{"fullUrl":%s,"resource":%s,"search":{"mode":"%s"}}' % (url, body(item), mode)


def matches(released: Released, base: str, links: Links, outcome: bytes = b"") -> bytes:
    """The answer of `$match`: each entry is certain."""
    entries = [
        b'{"fullUrl":%s,"resource":%s,"search":%s}' % (_text(f"{base}/{item.type}/{item.id}"), item.body, _CERTAIN)
        for item in released.items
    ]
    if outcome:
        entries.append(b'{"resource":%s,"search":{"mode":"outcome"}}' % outcome)
    return _bundle("searchset", entries, links, len(released.items))


def record(released: Released, base: str, links: Links, *, nobodys: int) -> bytes:
    """A page of a patient's record; what belongs to nobody (owner `nobodys`) is included for what refers to it."""
    entries = [
        b'{"fullUrl":%s,"resource":%s,"search":{"mode":"%s"}}'
        % (_text(f"{base}/{item.type}/{item.id}"), item.body, b"include" if item.owner == nobodys else b"match")
        for item in released.items
    ]
    return _bundle("searchset", entries, links, released.total)


def history(released: Released, base: str, links: Links) -> bytes:
    """The page of a history, newest first; a deletion is an entry without a resource."""
    return _bundle("history", [_version(item, base) for item in released.items], links, released.total)


def _version(item: Disclosed, base: str) -> bytes:
    method, status = _METHODS[item.op]
    request = {"method": method, "url": f"{item.type}/{item.id}"}
    response: dict[str, Any] = {
        "etag": etag(item.version).decode(),
        "lastModified": timestamp(datetime.fromtimestamp(item.at / 1000, UTC)),
        "status": status,
    }
    resource = b'"resource":%s,' % item.body if item.body else b""
    url = _text(f"{base}/{item.type}/{item.id}")
    return b'{"fullUrl":%s,"request":%s,%s"response":%s}' % (url, encode(request), resource, encode(response))


def _bundle(kind: str, entries: Sequence[bytes], links: Links, total: int | None) -> bytes:
    parts = []
    if entries:
        parts.append(b'"entry":[%s]' % b",".join(entries))
    listed = b",".join(b'{"relation":%s,"url":%s}' % (_text(relation), _text(url)) for relation, url in links)
    parts.append(b'"link":[%s]' % listed)
    parts.append(b'"resourceType":"Bundle"')
    if total is not None:
        parts.append(b'"total":%d' % total)
    parts.append(b'"type":"%s"' % kind.encode())
    return b"{%s}" % b",".join(parts)


def _text(text: str) -> bytes:
    return encode(text)
