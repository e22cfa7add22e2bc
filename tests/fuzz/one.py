"""Fuzz one target for some seconds: `python -m tests.fuzz.one TARGET SECONDS FOLDER`. Exits non-zero at a find.

With atheris (Linux: the extra `fuzz`) the program's branches guide it; elsewhere Hypothesis draws bytes and changes
the seeds. What found something lies in FOLDER as `crash-…` (atheris), or on standard output in Hypothesis's words.
"""

import importlib
import importlib.util
import random
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONGEST = 4096  # bytes of an input
SLOWEST_S = 10  # of one input: the limit of a message (hl7v2 chapter §13)
ROUND = 200  # inputs between two looks at the clock

INSTRUMENTED = ["mappings", "adapter.inbound"]

atheris: Any = importlib.import_module("atheris") if importlib.util.find_spec("atheris") else None


def main(name: str, seconds: float, folder: Path) -> None:
    with atheris.instrument_imports(include=INSTRUMENTED) if atheris else nullcontext():
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS
        from tests.mappings.hl7v2.messages import default
    folder.mkdir(parents=True, exist_ok=True)
    starts = [seed[:LONGEST] for seed in seeds(name)]
    for number, seed in enumerate(starts):
        (folder / f"seed-{number:04}").write_bytes(seed)
    default()  # compiled before the clock starts
    if atheris is None:
        with_hypothesis(TARGETS[name], starts, seconds)
        return
    limits = [f"-max_total_time={int(seconds)}", f"-max_len={LONGEST}", f"-timeout={SLOWEST_S}", "-rss_limit_mb=2048"]
    quiet = ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={folder}/"]
    atheris.Setup([name, *limits, *quiet, str(folder)], TARGETS[name])
    atheris.Fuzz()


def with_hypothesis(target: Callable[[bytes], None], starts: list[bytes], seconds: float) -> None:
    """Rounds of drawn and of changed inputs, until the time is over."""
    changed = st.builds(_changed, st.sampled_from(starts), st.randoms(use_true_random=False))

    @settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=LONGEST) | changed)
    def run(data: bytes) -> None:
        target(data)

    until, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        run()
        rounds += 1
    sys.stdout.write(f"about {rounds * ROUND} inputs\n")


def _changed(seed: bytes, draw: random.Random) -> bytes:
    """A seed with some bytes overwritten, left out or doubled."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 8)):
        at = draw.randint(0, len(data))
        data[at : at + draw.randint(0, 4)] = draw.choice((b"", data[at : at + 9], draw.randbytes(draw.randint(1, 4))))
    return bytes(data[:LONGEST])


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
