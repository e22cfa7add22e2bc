"""Golden files: what was recorded is what comes out, byte for byte.

`CHARTBRIDGE_GOLDEN=write pytest …` records anew; the diff is then read line by line, for each line is a claim about a
patient.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from mappings.convert import Conversion
from mappings.fhir.codec import encode

FOLDER = Path(__file__).parent / "golden"
WRITE = os.environ.get("CHARTBRIDGE_GOLDEN") == "write"


def check(path: Path, found: bytes) -> None:
    """Compares with the recorded file, or records."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found)
    assert path.is_file(), f"{path.name} is not recorded: run with CHARTBRIDGE_GOLDEN=write and read it"
    assert found.decode() == path.read_text("utf-8")


def recorded(conversion: Conversion) -> bytes:
    """A conversion as readable JSON; numbers keep their lexemes."""
    resources = [
        {
            "mode": mapped.mode,
            "at": mapped.at,
            "clear": list(mapped.clear),
            "filled": list(mapped.filled),
            "own": list(mapped.own),
            "into": mapped.into,
            "segments": list(mapped.source),
            "body": msgspec.Raw(encode(mapped.body)),
        }
        for mapped in conversion.resources
    ]
    whole: dict[str, Any] = {
        "resources": resources,
        "effects": [f"{type(effect).__name__} {effect}" for effect in conversion.effects],
        "issues": [" ".join(filter(None, (i.code, str(i.place or ""), i.row, i.detail))) for i in conversion.issues],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
