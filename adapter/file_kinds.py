"""Which files of a folder are meant: messages and documents for `convert`, FHIR for `convert --to`.

By what they hold, and not by their names: a folder of messages may hold a LICENSE, a stylesheet, pictures. What is
broken is meant all the same, so that nothing that should have been converted is taken for something else: a line that
begins as a message does anywhere at the beginning of the file, XML whose root cannot be told, and, whatever it holds, a
file with the name of a message (`*.hl7`), of FHIR (`*.json`) or, unless it is XML of another kind, of a document
(`*.xml`).
Source: HL7 v2.9 §2.10.3 (batch protocol); XML 1.0 §2.8 (prolog); CDA R2 §4.1 (ClinicalDocument).
"""

import re
from pathlib import Path
from typing import Final

from mappings.convert import is_document

_HEAD_BYTES = 65_536
_ROOT: Final = b"clinicaldocument"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BEGINS: Final = re.compile(rb"(?:\A|[\r\n\x0b])[ \t\x0b\x1c]*(?:MSH|FHS|BHS)[^A-Za-z0-9\s]", re.IGNORECASE)
# Misc* and the first tag, or a document type, which names the root, too
_FIRST_TAG: Final = re.compile(rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*+<(?:(!DOCTYPE)\s+)?([A-Za-z_][\w.:-]*)", re.DOTALL)


def is_convertible(file: Path) -> bool:
    """Whether a file of a folder is meant as a message or a document."""
    head, suffix = _head(file), file.suffix.casefold()
    if head is None or suffix == ".hl7":
        return True
    if is_document(head):
        return _may_be_document(head)
    return suffix == ".xml" or _BEGINS.search(head) is not None


def is_writable(file: Path) -> bool:
    """Whether a file of a folder is meant as FHIR: JSON, which begins as an object does."""
    head = _head(file)
    return head is None or file.suffix.casefold() == ".json" or head.lstrip().startswith(b"{")


def _head(file: Path) -> bytes | None:
    """How a file begins, without the zero bytes of wide characters; None where that cannot be read."""
    try:
        with file.open("rb") as source:
            head = source.read(_HEAD_BYTES)
    except OSError:
        return None
    for mark in _MARKS:
        head = head.removeprefix(mark)
    return head.replace(b"\0", b"")


def _may_be_document(head: bytes) -> bool:
    """Whether the root is a ClinicalDocument, in whatever namespace, or cannot be told."""
    found = _FIRST_TAG.match(head)
    if found is None or (found[1] and _ROOT in head.lower()):
        return True
    return found[2].rpartition(b":")[2].lower() == _ROOT
