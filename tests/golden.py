"""Golden files: what was recorded is what comes out, byte for byte.

`CHARTBRIDGE_GOLDEN=write pytest …` records anew; the diff is then read line by line, for each line is a claim about a
patient.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
WRITE = os.environ.get("CHARTBRIDGE_GOLDEN") == "write"


def check(path: Path, found: bytes) -> None:
    """Compares with the recorded file, or records."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found)
    assert path.is_file(), f"{path.name} is not recorded: run with CHARTBRIDGE_GOLDEN=write and read it"
    assert found.decode() == path.read_text("utf-8")
