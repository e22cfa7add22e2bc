"""Traces of a string in bytes: as itself, and in the encodings that programs are fond of.

A marked string has no letter that an encoding would leave alone by chance and is found in any case. Base64 is found at
each of its three alignments, without the characters that neighbours have a share in.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote_from_bytes


def encodings(mark: str) -> dict[bytes, str]:
    """Every form to look for, with its name. Hexadecimal and text are compared in lower case (`find`)."""
    forms: dict[bytes, str] = {}
    for text in dict.fromkeys((mark, mark.lower(), mark.upper())):
        for charset in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            raw = text.encode(charset)
            forms.setdefault(raw.lower(), charset)
            forms.setdefault(raw.hex().encode(), f"hex of {charset}")
            forms.setdefault(quote_from_bytes(raw, safe="").lower().encode(), f"url-encoded {charset}")
            for digest in ("sha256", "sha1", "md5"):
                hashed = hashlib.new(digest, raw, usedforsecurity=False)
                forms.setdefault(hashed.hexdigest().encode(), f"{digest} of {charset}")
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
            for digest in ("sha256", "sha1", "md5"):
                forms.setdefault(hashlib.new(digest, raw, usedforsecurity=False).digest(), f"{digest} of {charset}")
    return forms


def find(data: bytes, marks: Iterable[str]) -> list[str]:
    """Which marks lie in the data, and how they are written."""
    low = data.lower()
    return [
        f"{mark} ({name})"
        for mark in marks
        for forms, where in ((encodings(mark), low), (exact_encodings(mark), data))
        for form, name in forms.items()
        if form in where
    ]


def search(folders: Iterable[Path], marks: Iterable[str]) -> Mapping[str, list[str]]:
    """Every file below these folders that holds a trace, and its name counts as a part of it."""
    wanted = list(marks)
    found = {}
    for file in _files(folders):
        if traces := find(str(file).encode() + b"\0" + file.read_bytes(), wanted):
            found[file.name] = traces
    return found


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
