"""Environments of their own for published tools and clients: fixed versions below `build/clients`, made once.

They are no dependencies of the project. Where a registry or a runtime is away, what needs them is skipped.
"""

import fcntl
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "build" / "clients"
INSTALL_S = 180
PYTHON = ("fhirpy==2.3.1", "fhirclient==4.4.0")
NODE = ("fhir-kit-client@2.0.3",)
SCHEMATHESIS = ("schemathesis==4.32.5",)


def python(name: str, requirements: tuple[str, ...]) -> Path:
    """The folder of an environment's programs. Skips the test where it cannot be made."""
    place = ROOT / name
    with _made_once(place, requirements) as missing:
        if missing:
            venv.create(place, with_pip=True, clear=True)
            _install([str(place / "bin/python"), "-m", "pip", "install", "--quiet", *requirements])
    return place / "bin"


def node(name: str, requirements: tuple[str, ...]) -> Path:
    """The folder that a script's imports are found from. Skips the test where there is no Node or no registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no Node.js here")
    place = ROOT / name
    with _made_once(place, requirements) as missing:
        if missing:
            place.mkdir(exist_ok=True)
            _install([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), *requirements])
    return place


@contextmanager
def _made_once(place: Path, requirements: tuple[str, ...]) -> Iterator[bool]:
    """Whether it is still to be made; other processes wait until it is."""
    ROOT.mkdir(parents=True, exist_ok=True)
    done = ROOT / f"{place.name}.done"
    with (ROOT / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not done.exists() or done.read_text("utf-8") != repr(requirements)
        yield missing
        done.write_text(repr(requirements), "utf-8")


def _install(command: list[str]) -> None:
    """Skips where the registry cannot be reached, and does not wait for ever to find out."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False, env=os.environ)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        pytest.skip(f"not installed within {INSTALL_S} s: {command[-1]}")
    if done.returncode:
        pytest.skip(f"cannot be installed here: {command[-1]}")
