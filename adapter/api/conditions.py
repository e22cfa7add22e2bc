"""Conditional reads and the headers of a version: ETag, Last-Modified, 304.

Source: RFC 9110 §8.8, §13.1; FHIR R4 §3.1.0.5 (ETags are weak and hold the version). Clients are taken as they are: an
ETag is read with or without `W/` and quotes (fhir chapter §12).
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from adapter.access.disclose import Disclosed

_TAG = re.compile(r'\s*(?:W/)?(?:"([^"]*)"|([^",\s]+))\s*(?:,|$)')
MAX_HEADER_CHARS = 2048


def etag(version: int) -> bytes:
    return b'W/"%d"' % version


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True).encode()


def last_modified(at_ms: int) -> bytes:
    return _http_date(at_ms // 1000)


def version_headers(item: Disclosed) -> tuple[tuple[bytes, bytes], ...]:
    return (b"etag", etag(item.version)), (b"last-modified", last_modified(item.at))


def tags(header: str) -> frozenset[str]:
    """The tags of an `If-Match` or `If-None-Match` header."""
    if len(header) > MAX_HEADER_CHARS:
        return frozenset()
    return frozenset(quoted or bare for quoted, bare in _TAG.findall(header))


def is_unmodified(item: Disclosed, none_match: str | None, modified_since: str | None) -> bool:
    """Whether the asker has this version already; `If-None-Match` beats `If-Modified-Since` (RFC 9110 §13.1.3)."""
    if none_match is not None:
        found = tags(none_match)
        return "*" in found or str(item.version) in found
    if modified_since is None or len(modified_since) > MAX_HEADER_CHARS:
        return False
    try:
        since = parsedate_to_datetime(modified_since)
    except (ValueError, OverflowError):
        return False  # a date that is none is as if absent
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return item.at // 1000 <= since.timestamp()


def meets(wanted: frozenset[str], version: int | None) -> bool:
    """Whether what stands (None: nothing) is what an `If-Match` header names; `*` is anything at all."""
    return version is not None and ("*" in wanted or str(version) in wanted)
