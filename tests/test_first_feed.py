"""docs/first-feed.md, tried as a new user would: every command of the page runs, and says what the page says.

The page's blocks run in order in an empty folder, `serve` in the background. Times, ports and what `init` makes at
random are compared by their shape. `CHARTBRIDGE_GOLDEN=write` puts what was seen into the page, to be read.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import golden

PAGE = Path(__file__).parents[1] / "docs" / "first-feed.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "2575"
SHAPES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?\b"), "TIME"),
    (re.compile(r"^(seconds|per_second|p50_ms|p99_ms) .*", re.MULTILINE), r"\1"),
    (re.compile(r"\b(revision) [0-9a-f]{12}|\.[0-9a-f]{12}\b|\b20\d\d:\d+|\b\d+-[0-9a-f]{8}\b|\b\d+(?= rows\b)"), "N"),
    (re.compile(r" +"), " "),
)


@pytest.mark.skipif(shutil.which("iconv") is None, reason="no iconv here, which the page uses")
def test_the_page_can_be_followed_word_for_word(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    port = _free_port()
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CHARTBRIDGE_HTTP__PORT": str(_free_port()),
        "NO_COLOR": "1",
    }
    with _background() as started:
        seen = BLOCK.sub(lambda block: f"```console\n{_run(block[1], tmp_path, env, port, started)}```", page)
    if golden.WRITE:
        PAGE.write_text(seen, "utf-8")
        return
    assert shape(seen) == shape(page)


def _run(block: str, folder: Path, env: dict[str, str], port: int, started: list[subprocess.Popen[bytes]]) -> str:
    """A block with what its commands say now."""
    said = []
    for command in _commands(block):
        said.append(f"$ {command}\n")
        words = command.replace(PORT, str(port or PORT))
        if words.startswith("chartbridge send"):
            words += f" --port {port}"
        if words.endswith(" serve"):
            started.append(subprocess.Popen(["bash", "-c", f"exec {words}"], cwd=folder, env=env,  # noqa: S603, S607
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip
            _listens(port)
            continue
        if "msg list" in words:
            _settled(folder, env)
        done = subprocess.run(["bash", "-c", words], cwd=folder, env=env, capture_output=True, check=False)  # noqa: S603, S607
        said.append((done.stdout + done.stderr).decode().replace(str(folder), "…").replace(str(port or PORT), PORT))
    return "".join(said)


def try_block(block: str, folder: Path, env: dict[str, str]) -> str:
    """The same for a page whose commands need no node."""
    return _run(block, folder, env, 0, [])


def _commands(block: str) -> Iterator[str]:
    """Each command, with its here-document."""
    lines = iter(block.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            continue
        command = [line[2:]]
        if "<<'END'" in line:
            for inner in lines:
                command.append(inner)
                if inner == "END":
                    break
        yield "\n".join(command)


def _settled(folder: Path, env: dict[str, str]) -> None:
    """Wait until no message is on its way any more."""
    for _ in range(300):
        listed = subprocess.run(["bash", "-c", "chartbridge --site my-site msg list --json"], cwd=folder, env=env,  # noqa: S607
                                capture_output=True, check=True)  # fmt: skip
        if not re.search(rb'"state": "(new|mapped|logged)"', listed.stdout):
            return
        time.sleep(0.1)
    raise AssertionError("messages are on their way for half a minute")


def shape(text: str) -> list[str]:
    for pattern, word in SHAPES:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.splitlines()]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> None:
    for _ in range(900):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the node does not listen")


@contextmanager
def _background() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What is started here ends here."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
            process.wait(20)
