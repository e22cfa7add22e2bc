"""The npm package of R4 definitions and examples, for tests marked `node`.

It is 18 MB and not checked in. `CHARTBRIDGE_R4_EXAMPLES` names a copy (`.tgz`); without it `npm pack` fetches one
into the user's cache folder, once. Either way its integrity is the one `tools/compile_fhir.py` pins.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tools.compile_fhir import PACKAGE, check_integrity, fetch, read_package

VARIABLE = "CHARTBRIDGE_R4_EXAMPLES"


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "chartbridge" / "npm"


def package() -> Path:
    """The package as npm ships it, or a skip that says why there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        found = Path(named)
    else:
        folder = _cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        kept = sorted(folder.glob("hl7.fhir.r4.examples-*.tgz"))
        if not kept and shutil.which("npm") is None:
            pytest.skip(f"needs npm to fetch {PACKAGE}, or {VARIABLE}")
        try:
            found = kept[-1] if kept else fetch(folder)
        except subprocess.CalledProcessError:
            pytest.skip(f"npm could not fetch {PACKAGE}; set {VARIABLE} to a copy")
    check_integrity(found)
    return found


@cache
def files() -> dict[str, bytes]:
    """Every JSON file of the package by name; read once a run."""
    return read_package(package())


def examples() -> dict[str, bytes]:
    """The resources among them."""
    return {name: data for name, data in files().items() if name not in {"package.json", ".index.json"}}
