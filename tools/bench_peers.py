"""C-CDA documents through other Python converters and through ours, in one run: `make bench-peers`, or

    python -m tools.bench_peers [--seconds N] [FILE ...]

Each peer is installed, at a fixed version, into an environment of its own below `build/peers` and runs in a process of
its own; only the call that converts is timed, in time of the processor, each document warmed once. Without files: the
bench sample, and the whole documents of the corpus where it is at hand. A document that a peer refuses counts as
refused, not as slow.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter import tuning
from adapter.bench.documents import GOAL, SAMPLE, converting
from mappings.convert import load_profile

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"
ENVIRONMENTS = ROOT / "build/peers"
LEAST_TIMES = 4
_DOCUMENT = re.compile(rb"ClinicalDocument[^>]*urn:hl7-org:v3")
_SIZE = 100_000

# Reads paths from its arguments, writes {path: seconds or null} to its output.
_TIMED = """
import json, sys, time
{setup}
budget, found = float(sys.argv[1]), {{}}
for path in sys.argv[2:]:
    data = open(path, "rb").read()
    try:
        convert(data)
        best, until = None, time.process_time() + budget
        while best is None or time.process_time() < until:
            before = time.process_time()
            convert(data)
            taken = time.process_time() - before
            best = taken if best is None else min(best, taken)
    except Exception:
        best = None
    found[path] = best
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One converter: what is installed, and how it is called."""

    name: str
    requirement: str
    setup: str

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin/python"


PEERS = (
    Peer(
        "python-fhir-converter",
        "python-fhir-converter==0.3.0",
        "from fhir_converter.renderers import CcdaRenderer\n"
        "renderer = CcdaRenderer()\n"
        "convert = lambda data: renderer.render_fhir_string('CCD', data)",
    ),
    Peer(
        "ccda-to-fhir",
        "ccda-to-fhir==0.3",
        "import logging; logging.disable(logging.CRITICAL)\n"
        "from ccda_to_fhir import convert_document\n"
        "convert = lambda data: convert_document(data.decode('utf-8-sig'))",
    ),
)


def install(peer: Peer) -> None:
    """The peer's environment, made once."""
    done = ENVIRONMENTS / peer.name / peer.requirement
    if done.exists():
        return
    venv.create(ENVIRONMENTS / peer.name, with_pip=True, clear=True)
    subprocess.run([peer.python, "-m", "pip", "install", "--quiet", peer.requirement], check=True)  # noqa: S603 - ours
    done.touch()


def timed(peer: Peer, files: Sequence[Path], seconds: float) -> dict[Path, float | None]:
    """Seconds of the processor for each document; None where the peer refuses it."""
    script = _TIMED.format(setup=peer.setup)
    done = subprocess.run(  # noqa: S603 - ours
        [peer.python, "-c", script, str(seconds), *map(str, files)], check=True, capture_output=True, text=True
    )
    found: dict[str, float | None] = json.loads(done.stdout.strip().splitlines()[-1])
    return {Path(path): value for path, value in found.items()}


def ours(files: Sequence[Path], seconds: float) -> dict[Path, float]:
    """The same of our own converter, in a process tuned as a conversion child is."""
    convert = converting(load_profile("default"))
    convert(files[0].read_bytes())
    tuning.settle()
    found: dict[Path, float] = {}
    for path in files:
        data = path.read_bytes()
        convert(data)
        best, until = float("inf"), time.process_time() + seconds
        while time.process_time() < until:
            before = time.process_time()
            convert(data)
            best = min(best, time.process_time() - before)
        found[path] = best
    return found


def documents() -> list[Path]:
    """The bench sample, and what the corpus has."""
    files = [path for path in sorted(CORPUS.rglob("*")) if path.suffix.lower() == ".xml"]
    return [SAMPLE, *(path for path in files if _DOCUMENT.search(path.read_bytes()[:6_000]))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where we are not fast enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.4, help="for each document and converter")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    files = options.files or documents()
    for peer in PEERS:
        install(peer)
    columns: list[dict[Path, float | None]] = [timed(peer, files, options.seconds) for peer in PEERS]
    own = ours(files, options.seconds)
    report(files, own, columns)
    missed = [peer.name for peer, column in zip(PEERS, columns, strict=True) if _times(own, column) < LEAST_TIMES]
    print(f"goal {LEAST_TIMES} x each: {'missed by ' + ', '.join(missed) if missed else 'met'}")  # noqa: T201
    return 1 if missed or _rate(SAMPLE, own.get(SAMPLE)) < GOAL else 0


def report(files: Sequence[Path], own: dict[Path, float], columns: Sequence[dict[Path, float | None]]) -> None:
    """Documents of 100 kB a second, by converter."""
    names = ["chartbridge", *(peer.name for peer in PEERS)]
    print(f"{'documents of 100 kB a second of one core':<60}" + "".join(f"{name:>24}" for name in names))  # noqa: T201
    for path in files:
        values = [own[path], *(column[path] for column in columns)]
        shown = [f"{_rate(path, value):.1f}" if value is not None else "refused" for value in values]
        print(f"{path.stem[:52]:<52}{path.stat().st_size:>8}" + "".join(f"{each:>24}" for each in shown))  # noqa: T201
    for peer, column in zip(PEERS, columns, strict=True):
        read = [path for path in files if column[path] is not None]
        print(  # noqa: T201
            f"{peer.name}: reads {len(read)} of {len(files)}; on those we are {_times(own, column):.1f} times as fast"
        )


def _times(own: dict[Path, float], column: dict[Path, float | None]) -> float:
    """The median of how many times as fast we are, over what the peer reads."""
    ratios = sorted(value / own[path] for path, value in column.items() if value is not None)
    return ratios[len(ratios) // 2] if ratios else float("inf")


def _rate(path: Path, seconds: float | None) -> float:
    return path.stat().st_size / _SIZE / seconds if seconds else 0.0


if __name__ == "__main__":
    sys.exit(main())
