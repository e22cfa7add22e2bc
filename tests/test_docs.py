"""Docs that cannot rot: README commands, CLI verbs, settings and links against the real ones."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from adapter.api.routes import TABLE
from adapter.cli.app import app, exit_code
from adapter.cli.console import OPTIONS, Exit
from adapter.http_server import free_port
from adapter.settings import FILE, known_keys

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def verbs(command: Any, path: tuple[str, ...] = ()) -> set[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return {" ".join(path)}
    return {verb for name, below in inner.items() for verb in verbs(below, (*path, name))}


def documented(page: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE))


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    assert documented("settings.md", r"^\| `([a-z]+\.[a-zA-Z_.]+)`") == set(known_keys())


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    assert documented("cli.md", r"^\| `([a-z -]+?)(?: [A-Z\[<].*?)?`") == verbs(typer.main.get_command(app))


def options(command: Any, path: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Verb → its long options."""
    inner = getattr(command, "commands", None)
    if inner is None:
        names = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
        return {" ".join(path): names - {"--help"}}
    return {verb: names for name, below in inner.items() for verb, names in options(below, (*path, name)).items()}


def test_every_option_stands_in_the_row_of_its_verb() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z -]+?)` \|((?:\\\||[^|])*)\|", page, re.MULTILINE)
    told = {verb: set(re.findall(r"--[a-z-]+", arguments)) for verb, arguments in rows}
    assert told == options(typer.main.get_command(app))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z]+)`", README))))
def test_readme_targets_stand_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_what_is_written_from_fhir_is_not_called_missing() -> None:
    absent = README.partition("## Not in this version")[2]
    assert "from FHIR" not in absent, "`convert --to` writes HL7 v2 and CDA"
    assert "FHIR writes" not in absent, "the API writes every type"
    (row,) = [line for line in README.splitlines() if "docs/outbound.md" in line]
    assert "HL7 v2 and CDA from FHIR" in row


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text("utf-8")
    assert "`make test`" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    linked = {target.split("#")[0] for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)}
    assert {target for target in linked if not (page.parent / target).exists()} == set()
    named = set(
        re.findall(r"`((?:adapter|mappings|ledger|tests|samples|docs|tools)/[\w./-]+\.(?:py|csv|md|toml|json))`", text)
    )
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_cites_what_is_not_here(page: Path) -> None:
    """A section of an RFC or of HL7 can be looked up; one of a paper outside of the repository cannot."""
    assert re.findall(r"\bdesign (?:chapter\b|§).*|\b\w+ chapter §.*|\w \(§\d.*", page.read_text("utf-8")) == []


def test_exit_codes_on_the_page_are_the_programs() -> None:
    assert {int(code) for code in documented("cli.md", r"^\| (\d+) \|")} == set(Exit)


def test_the_api_page_names_every_address_with_its_methods() -> None:
    page = set(re.findall(r"^\| `(\w+) (/\S+)`", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE))
    assert page == {(method, row.path.replace(":path", "")) for row in TABLE for method in row.methods}


def test_the_security_page_names_every_file_of_a_site(tmp_path: Path) -> None:
    assert exit_code(["--quiet", "init", str(tmp_path / "site")]) == Exit.DONE
    files = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*") if path.is_file()}
    named = documented("security.md", r"^\| `([\w./-]+)`")
    unnamed = {name for name in files if not any(name == one or name.startswith(f"{one}/") for one in named)}
    assert unnamed == set()


def commands(page: str) -> list[list[str]]:
    """The words behind each prompt, without the program's own path."""
    lines = re.findall(r"^\$ (?:\.venv/bin/)?chartbridge (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@contextmanager
def served(words: list[str]) -> Iterator[None]:
    """`serve`, as the page starts it, while the rest of the page is tried."""
    code = "from adapter.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE)  # noqa: S603
    try:
        assert process.stderr is not None
        assert b"node.ready" in process.stderr.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_every_page_with_commands_is_tried() -> None:
    """README here; the pages where shell and verbs follow each other, word for word in a test of their own."""
    shown = {str(page.relative_to(ROOT)) for page in PAGES if commands(str(page.relative_to(ROOT)))}
    assert shown == {"README.md", "docs/first-feed.md", "docs/outbound.md"}


def test_every_command_of_the_readme_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    first, second, *rest = commands("README.md")
    assert (first[0], second[-1]) == ("init", "serve")
    assert exit_code(first) == Exit.DONE
    http, mllp = free_port("127.0.0.1"), free_port("127.0.0.1")  # the page's own may be taken on this machine
    for file, old, new in ((FILE, "port = 8080", http), ("feeds/main.toml", "port = 2575", mllp)):
        path = tmp_path / "my-site" / file
        path.write_text(path.read_text("utf-8").replace(old, f"port = {new}"), "utf-8")
    with served(second):
        for words in rest:
            more = ["--port", str(mllp)] if words[0] == "send" else []
            assert exit_code([*words, *more]) == Exit.DONE, words
    OPTIONS.site = None
