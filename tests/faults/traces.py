"""Traces of a string in bytes: as itself, and in the encodings that programs are fond of.

A marked string has no letter that an encoding would leave alone by chance and is found in any case. Base64 is found at
each of its three alignments, without the characters that neighbours have a share in. What is compressed is looked into:
gzip and zlib wherever they begin (RFC 1950, RFC 1952), bare DEFLATE (RFC 1951) where a row may begin with it.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

DIGESTS = ("sha256", "sha1", "md5")
DIGEST_BYTES = 8  # a digest may be kept in part
COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
INFLATED_BYTES = 1 << 20  # of one stream


def encodings(mark: str) -> dict[bytes, str]:
    """Every form to look for, with its name. Hexadecimal and text are compared in lower case (`find`)."""
    forms: dict[bytes, str] = {}
    for text in dict.fromkeys((mark, mark.lower(), mark.upper())):
        for charset in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            raw = text.encode(charset)
            forms.setdefault(raw.lower(), charset)
            forms.setdefault(raw.hex().encode(), f"hex of {charset}")
            forms.setdefault(quote_from_bytes(raw, safe="").lower().encode(), f"url-encoded {charset}")
        forms.setdefault(json.dumps(text)[1:-1].lower().encode(), "escaped in JSON")
    return forms


def exact_encodings(mark: str) -> dict[bytes, str]:
    """Forms in which a changed case would be another string."""
    forms: dict[bytes, str] = {}
    for text in dict.fromkeys((mark, mark.lower(), mark.upper())):
        for charset in ("utf-8", "utf-16-le"):
            raw = text.encode(charset)
            for shift in range(3):
                encoded = base64.b64encode(b"\0" * shift + raw)
                inner = encoded[(0, 2, 3)[shift] : len(encoded) - (4 if (shift + len(raw)) % 3 else 0)]
                forms.setdefault(inner, f"base64 of {charset}")
                forms.setdefault(inner.translate(bytes.maketrans(b"+/", b"-_")), f"base64url of {charset}")
    return forms


def find(data: bytes, marks: Iterable[str]) -> list[str]:
    """Which marks lie in the data, and how they are written."""
    found = _find(data, marks)
    return found + [f"{trace}, compressed" for plain in inflated(data) for trace in _find(plain, marks)]


def _find(data: bytes, marks: Iterable[str]) -> list[str]:
    low = data.lower()
    return [
        f"{mark} ({name})"
        for mark in marks
        for forms, where in ((encodings(mark), low), (exact_encodings(mark), data))
        for form, name in forms.items()
        if form in where
    ]


def inflated(data: bytes) -> Iterator[bytes]:
    """What gzip or zlib streams in the data hold."""
    for begin in COMPRESSED.finditer(data):
        with suppress(zlib.error):
            yield zlib.decompressobj(47).decompress(
                data[begin.start() : begin.start() + INFLATED_BYTES], INFLATED_BYTES
            )


def bare(data: bytes, dictionary: bytes, starts: Iterable[int]) -> Iterator[bytes]:
    """What DEFLATE without a header holds that begins at one of these places, with or without a dictionary."""
    for start in starts:
        for zdict in (b"", dictionary):
            with suppress(zlib.error):
                yield zlib.decompressobj(-15, zdict=zdict).decompress(data[start:], INFLATED_BYTES)


def digests(data: bytes, values: Iterable[str]) -> list[str]:
    """Which values lie in the data as a plain digest: whoever guesses the value can tell that it is there."""
    low = data.lower()
    found = []
    for value in values:
        for name in DIGESTS:
            digest = hashlib.new(name, value.encode(), usedforsecurity=False)
            if digest.digest()[:DIGEST_BYTES] in data or digest.hexdigest()[: 2 * DIGEST_BYTES].encode() in low:
                found.append(f"{value} ({name})")
    return found


def files(written: Iterable[Path], since: float = 0) -> Iterator[tuple[Path, bytes]]:
    """Every file named, or below a folder named, with its name and content; of those that were changed since then."""
    for place in written:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and path.stat().st_mtime >= since:
                yield path, path.name.encode() + b"\0" + path.read_bytes()


def search(
    written: Iterable[Path], marks: Sequence[str], values: Sequence[str] = (), since: float = 0
) -> Mapping[str, list[str]]:
    """The files that hold a trace of a mark, or the digest of a value; a file's name counts as a part of it."""
    found = {path.name: find(data, marks) + digests(data, values) for path, data in files(written, since)}
    return {name: traces for name, traces in found.items() if traces}
