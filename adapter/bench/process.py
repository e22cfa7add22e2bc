"""What is measured runs in a process of its own, so that the load beside it costs it no lock of the interpreter.

A process is ready when it writes one line to its standard output, and ends when its standard input is closed.
"""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import Unavailable

STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A process under load."""

    pid: int
    ready: str

    def memory_mb(self) -> float:
        """What it holds in memory now, in MB (1,000,000 bytes); 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        except OSError:
            return 0.0
        return pages * resource.getpagesize() / 1e6


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Measured]:
    """`python -m module arguments…` while the context is open. Raises Unavailable when it does not get ready."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        if process.stdout is None:
            raise RuntimeError("a process without a standard output")
        ready = process.stdout.readline()
        if not ready:
            raise Unavailable("the process to be measured did not start")
        yield Measured(process.pid, ready.strip())
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
