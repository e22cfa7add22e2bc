"""What all verbs share: exit codes, where the words go, `--json` with its schema tags (operations chapter §1)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import errors, samples
from adapter.cli.app import _take_shared
from adapter.cli.console import Exit
from adapter.errors import ChartbridgeError
from tests.adapter.cli.command import Command

ADMISSION = samples.folder() / "adt-a01-admission.hl7"
# What a verb may load before it knows that it runs: not one of these.
HEAVY = {
    "alembic", "cryptography", "fastapi", "fhir", "granian", "hl7apy", "joserfc", "lxml", "msgspec", "pydantic",
    "sqlalchemy", "starlette", "structlog", "web3",
}  # fmt: skip
LOADED = """
import sys
from adapter.cli.app import exit_code
exit_code(["--help"])
print(*{name.split(".")[0] for name in sys.modules})
"""


def test_help_loads_nothing_heavy() -> None:
    """This is what keeps it under 0.4 s; a clock in a test would measure the machine."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)  # noqa: S603
    assert set(done.stdout.splitlines()[-1].split()) & HEAVY == set()


def test_exit_codes_are_the_chapters() -> None:
    assert {one.name: int(one) for one in Exit} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CONFIGURATION": 3,
        "UNAVAILABLE": 4,
        "NOT_FOUND": 5,
        "NOT_PERMITTED": 6,
        "INTEGRITY": 7,
        "PARTLY": 8,
        "CANNOT_TELL": 9,
        "INTERRUPTED": 130,
    }
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChartbridgeError)]
    assert {kind.exit_code for kind in kinds} <= set(Exit)
    assert [kind for kind in kinds if kind.exit_code == Exit.INTEGRITY] == [errors.IntegrityFault], "reserved"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["version"], 0),
        (["verison"], 2),
        (["convert"], 2),
        (["convert", "--out", "x", "absent.hl7"], 2),
        (["send", "--connections", "0", "x"], 2),
        (["--site", "absent", "feed", "list"], 3),
        (["send", "--port", "1", "samples/hl7v2/adt-a01-admission.hl7"], 4),
        (["msg", "show", "999"], 5),
    ],
)
def test_each_end_has_its_code_and_an_error_says_what_to_try(command: Command, words: list[str], code: int) -> None:
    if words[0] in ("send", "convert", "version", "verison", "--site"):
        command = Command(command._capsys)
    ended = command(*words)
    assert ended.code == code
    if code and words[0] != "send":
        assert ended.out == ""
        assert ended.err.startswith("error: ")
        assert "\ntry: " in ended.err


@pytest.mark.parametrize(
    ("words", "schemas"),
    [
        (["version"], {"chartbridge.version/1"}),
        (["feed", "list"], {"chartbridge.feed/1"}),
        (["msg", "list"], {"chartbridge.msg/1"}),
        (["msg", "show", "2"], {"chartbridge.msg.show/1"}),
        (["msg", "replay", "2", "--dry-run"], {"chartbridge.msg.replay/1", "chartbridge.msg.rehearsal/1"}),
        (["token", "issue", "clinic"], {"chartbridge.token/1"}),
        (["map", "explain", "samples/hl7v2/adt-a01-admission.hl7"],
         {"chartbridge.map.explain/1", "chartbridge.map.unmapped/1"}),
        (["keys", "list"], {"chartbridge.keys/1"}),
        (["ledger", "status"], {"chartbridge.ledger.status/1"}),
        (["ledger", "prove", "2026:0"], {"chartbridge.ledger.proof/1"}),
        (["ledger", "fsck"], {"chartbridge.ledger.fsck/1"}),
    ],
)  # fmt: skip
def test_json_is_one_tagged_object_a_line(command: Command, words: list[str], schemas: set[str]) -> None:
    if words[1:2] == ["prove"]:
        (size,) = command("ledger", "status", json=True).objects()
        words = [*words[:2], f"{size['origin'].rsplit('/', 1)[-1]}:0"]
    ended = command(*words, json=True)
    assert ended.code == 0, ended.err
    assert ended.schemas() == schemas


def test_files_in_and_out_are_tagged_too(plain: Command, tmp_path: Path) -> None:
    made = plain("init", tmp_path / "site", json=True)
    assert made.schemas() == {"chartbridge.init/1"}
    converted = plain("convert", "--out", tmp_path / "out", samples.folder() / "adt-a01-admission.hl7", json=True)
    assert converted.schemas() == {"chartbridge.convert/1"}


WORDS = st.lists(st.sampled_from(["--json", "--quiet", "msg", "list", "--state", "x", "--"]), max_size=8)


@settings(max_examples=200, deadline=None)
@given(WORDS)
def test_shared_flags_move_to_the_front_and_nothing_else_moves(words: list[str]) -> None:
    moved = _take_shared(words)
    end = words.index("--") if "--" in words else len(words)
    flags = [word for word in ("--json", "--quiet") if word in words[:end]]
    assert moved[: len(flags)] == flags
    rest = [word for word in words[:end] if word not in flags] + words[end:]
    assert moved[len(flags) :] == rest


def test_brackets_in_a_list_and_in_progress_stand_as_they_are(plain: Command, tmp_path: Path) -> None:
    """`[bold]` is a file's name here, not a wish; rich would swallow it, or fail at `[/]`."""
    odd = tmp_path / "[bold]a[red].hl7"
    odd.write_bytes((samples.folder() / "adt-a01-bad-birth-date.hl7").read_bytes())
    ended = plain("convert", "--out", tmp_path / "out", odd)
    assert ended.code == 0
    assert str(odd) in ended.out
    assert f"{odd}: " in ended.err
    assert plain("--quiet", "convert", "--out", tmp_path / "again", odd).err == ""


def test_a_reader_that_has_gone_is_no_failure() -> None:
    """`chartbridge map explain FILE | head -1`."""
    code = f"from adapter.cli import main; import sys; sys.argv[1:] = ['map', 'explain', {str(ADMISSION)!r}]; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)  # noqa: S603
    os.close(writer)
    assert done.returncode == 0
    assert b"Error" not in done.stderr


def test_a_group_without_a_verb_shows_its_help_and_nothing_else(plain: Command) -> None:
    for words in ([], ["msg"]):
        ended = plain(*words)
        assert ended.code == 2
        assert "Usage: " in ended.out + ended.err
        assert "error:" not in ended.err
