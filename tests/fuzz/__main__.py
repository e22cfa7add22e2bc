"""`python -m tests.fuzz [--seconds N] [--folder DIR] [TARGET …]`: fuzz each target for N seconds, one after the other.

`make fuzz` runs it. Each has a process of its own; what they learnt lies in DIR and is where the next run goes on. A
find ends its target; the others go on. Exit status 1 where anything was found.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

SHOWN = 25  # last lines of what a target said that found something


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="fuzz the readers of what comes from outside"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where inputs are kept")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    found = [name for name in options.targets or TARGETS if not clean(name, options.seconds, options.folder / name)]
    sys.stdout.write(f"found something: {', '.join(found)}\n" if found else "nothing found\n")
    return 1 if found else 0


def clean(name: str, seconds: float, folder: Path) -> bool:
    """Whether a target ran its time without a find."""
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")  # noqa: S603
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.startswith(("stat::number_of_executed_units", "about ", "Done "))]
    sys.stdout.write(f"{name}: {told[-1] if told else 'no count'}\n")
    if done.returncode:
        sys.stdout.write("\n".join(lines[-SHOWN:]) + "\n")
    sys.stdout.flush()
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
