"""What a writer wants back: `Prefer: return=representation`, `minimal` or `OperationOutcome`.

Source: RFC 7240 §4.2; FHIR R4 §3.1.0.5.1 (managing return content). An unknown preference is no error.
"""

from typing import Literal

Return = Literal["representation", "minimal", "OperationOutcome"]

MAX_HEADER_CHARS = 2048
_KNOWN: dict[str, Return] = {
    "return=representation": "representation",
    "return=minimal": "minimal",
    "return=operationoutcome": "OperationOutcome",
}


def returned(header: str | None, default: Return = "representation") -> Return:
    """The first that is asked for and known."""
    for part in (header or "")[:MAX_HEADER_CHARS].replace(";", ",").split(","):
        word = part.replace(" ", "").replace('"', "").lower()
        if word in _KNOWN:
            return _KNOWN[word]
    return default
