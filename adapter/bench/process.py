"""What is measured runs in a process of its own, so that the load beside it costs it no lock of the interpreter.

A process is ready when it writes one line to its standard output, and ends when its standard input is closed.
"""

import os
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
        return resident_mb(self.pid)

    def family_mb(self) -> float:
        """The same with its children."""
        return sum(map(resident_mb, (self.pid, *children(self.pid))))


def resident_mb(pid: int) -> float:
    pages = _read(pid, "statm").split()[1:2]
    return int(pages[0]) * resource.getpagesize() / 1e6 if pages else 0.0


def pss_mb(pid: int) -> float:
    """What a process holds, of a page that it shares its share."""
    shares = [line.split()[1] for line in _read(pid, "smaps_rollup").splitlines() if line.startswith("Pss:")]
    return sum(map(int, shares)) * 1024 / 1e6


def processor_s(pid: int) -> float:
    """What a process and its children, ended ones too, have had of the processors, in seconds."""
    fields = _read(pid, "stat").rpartition(")")[2].split()[11:15]
    ticks = sum(map(int, fields[:2])) + sum(map(int, fields[2:]))
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(processor_s, children(pid)))


def children(pid: int) -> list[int]:
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text("ascii")
    except OSError:
        return ""


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Measured]:
    """`python -m module arguments…` while the context is open. Raises Unavailable when it does not get ready."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
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
