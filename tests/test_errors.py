"""Every stable code of the program stands on its page, and the page names none that is not (docs/errors.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from adapter import errors
from adapter.cli.console import Exit
from adapter.errors import ChartbridgeError
from mappings.issues import CODES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")


def section(title: str) -> list[list[str]]:
    """The rows of one table: cells without their marks."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cells[0].strip("`"), *cells[1:]] for cells in rows]


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "adapter").rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def given() -> set[str]:
    """Codes that calls name: `NotFound(…, code="…")`."""
    return {
        keyword.value.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def classes() -> dict[str, type[ChartbridgeError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChartbridgeError)]
    return {kind.code: kind for kind in found}


def classes_elsewhere() -> set[str]:
    """Codes of errors that live beside the code that raises them."""
    return {
        statement.value.value
        for path, tree in trees()
        if path.name != "errors.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "ChartbridgeError" for base in node.bases)
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and getattr(statement.targets[0], "id", "") == "code"
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    }


def failures() -> set[str]:
    """What the pipeline says of a message by itself: `failed("…")`, and how a child may end."""
    source = "".join((ROOT / "adapter" / name).read_text("utf-8") for name in ("pipeline.py", "decision.py"))
    reasons = re.findall(
        r'(?:ChildFailed|_fail)\((?:[^")]*, )?"([a-z ]+)"\)', (ROOT / "adapter/children.py").read_text()
    )
    return set(re.findall(r'\bfailed\("([a-z-]+)"\)', source)) | {
        "conversion-" + reason.replace(" ", "-") for reason in reasons
    }


def test_every_code_is_on_the_page_and_every_code_of_the_page_is_given() -> None:
    page = {row[0] for row in section("Errors")} | {row[0] for row in section("Reasons for quarantine")}
    assert page == given() | set(classes()) | classes_elsewhere() | failures()


def test_status_and_exit_code_are_those_of_the_error() -> None:
    known = classes()
    for code, ends, *_ in section("Errors"):
        numbers = [int(number) for number in ends.split(" · ")]
        assert numbers[-1] in set(Exit)
        if code in known:
            kind = known[code]
            commands_only = kind in (errors.ConfigurationError, errors.UsageError)
            assert numbers == ([] if commands_only else [kind.status_hint]) + [kind.exit_code], code


def test_issues_stand_there_with_severity_and_meaning() -> None:
    assert section("Issues of a message") == [[one.code, one.severity, one.meaning] for one in CODES.values()]
