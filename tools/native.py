"""Builds the packages with their hot path compiled to C: the wheel that a release makes, unpacked.

    python -m tools.native [folder]            build/native where none is named

The sources are copied first, for the compiler writes beside what it compiles: a checkout never holds a compiled file
that could outlive its source. What stands in the folder already is built again only where a source has changed. Needs
a C compiler and Python's headers.

Tests ask for a build without the C compiler's optimisations, `build/native-quick`: what it makes is the same, and it is
made in a fraction of the time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "native"
QUICK = ROOT / "build" / "native-quick"
SOURCES = ("adapter", "mappings", "ledger", "samples", "pyproject.toml", "README.md", "LICENSE")
_STAMP = "built-from"
_NO_DEBUGGER = "-g0"  # symbols for a debugger are half of the compiler's time
_LEVEL = 'opt_level = "2"'  # in pyproject.toml
_NO_LEVEL = 'opt_level = "0", multi_file = true'  # many small files take the compiler less than one large one


def quick() -> Path:
    """Compiled packages for tests: the fast ones where they are at hand, else made in less time. Raises as `build`."""
    return FOLDER if _is_of(FOLDER, _digest()) else build(QUICK, optimised=False)


def build(folder: Path = FOLDER, *, optimised: bool = True) -> Path:
    """The compiled packages in the folder, which can stand in PYTHONPATH. Raises CalledProcessError."""
    digest = _digest()
    if _is_of(folder, digest):
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # what no longer answers to its sources is not to be measured
    with tempfile.TemporaryDirectory() as temporary:
        copy, wheels = Path(temporary) / "source", Path(temporary) / "wheels"
        for name in SOURCES:
            _copy(ROOT / name, copy / name)
        if not optimised:
            settings = (copy / "pyproject.toml").read_text("utf-8")
            if _LEVEL not in settings:
                raise RuntimeError(f"pyproject.toml says no {_LEVEL}")
            (copy / "pyproject.toml").write_text(settings.replace(_LEVEL, _NO_LEVEL), "utf-8")
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)],
            cwd=copy,
            env={**os.environ, "HATCH_BUILD_HOOKS_ENABLE": "1", "CFLAGS": _NO_DEBUGGER, "PYTHONPATH": ""},
            check=True,
        )
        (wheel,) = wheels.glob("*.whl")
        unpacked = Path(temporary) / "unpacked"
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(unpacked)
        (unpacked / _STAMP).write_text(digest, "ascii")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(unpacked, folder)
    return folder


def _is_of(folder: Path, digest: str) -> bool:
    """Whether a folder holds what these sources become."""
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text("ascii") == digest


def compiler() -> str | None:
    """The C compiler that Python's build would take, where it and Python's headers are here."""
    found = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    return found if Path(sysconfig.get_path("include"), "Python.h").is_file() else None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _digest() -> str:
    """Of every source by its path and content, of the Python that they are compiled for, and of what compiles them."""
    found = hashlib.sha256(sys.version.encode())
    for name in ("hatch-mypyc", "hatchling", "mypy", "setuptools"):
        found.update(f"{name}={version(name)}\0".encode())
    for name in SOURCES:
        start = ROOT / name
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
                found.update(path.read_bytes())
    return found.hexdigest()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if compiler() is None:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit("no C compiler, or no headers of Python: nothing is compiled")
    build(folder)


if __name__ == "__main__":
    main()
