"""`chartbridge map`: which row made which value, what was left, and which rows nothing fires."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli.console import OPTIONS, Exit, emit, emit_list, line, progress
from adapter.errors import UsageError

if TYPE_CHECKING:
    from mappings.hl7v2.explain import Fact, Unmapped
    from mappings.profile import Profile

app = typer.Typer(no_args_is_help=True, help="Mappings: explain a conversion, check rows and messages, show coverage.")

ProfileOption = Annotated[str, typer.Option("--profile", help="A shipped profile's name, or a profile folder.")]
Files = Annotated[list[Path] | None, typer.Argument(help="HL7 v2 files, or folders of them.")]


def _profile(name: str) -> "Profile":
    from adapter.profiles import read_profile

    return read_profile(name)


def _messages(paths: Iterable[Path]) -> list[tuple[Path, bytes]]:
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.hl7")))]
    if not files:
        raise UsageError("no message found", hint="name a file, or a folder with *.hl7 files")
    return [(file, file.read_bytes()) for file in files]


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="One HL7 v2 message.")],
    path: Annotated[str, typer.Option(help="Only FHIR paths that begin so, like Patient.name.")] = "",
    place: Annotated[str, typer.Option(help="Only this field, like PID-8.")] = "",
    values: Annotated[bool, typer.Option("--values", help="Show the content of the fields too.")] = False,
    profile: ProfileOption = "default",
) -> None:
    """For each FHIR value the field it came from; then what was not mapped, and why."""
    from mappings.hl7v2.explain import explain as read

    if not file.is_file():
        raise UsageError(f"no such file: {file}", hint="name one file with one message")
    ((_, data),) = _messages([file])
    found = read(data, _profile(profile))
    facts = [fact for fact in found.facts if _asked(fact, path, place)]
    left = [one for one in found.unmapped if not path and _within(str(one.place), place)]
    for fact in facts:
        _show_fact(fact, data if values else b"")
    for one in left:
        _show_unmapped(one, data if values else b"")
    progress(f"{len(facts)} values, {len(left)} fields not mapped")


def _asked(fact: "Fact", path: str, place: str) -> bool:
    kind = fact.resource.split("/")[0]
    return f"{kind}.{fact.path}".startswith(path) and _within(str(fact.place or ""), place)


def _within(place: str, asked: str) -> bool:
    """PID-3 holds PID-3.4 and PID-3[2], and not PID-30."""
    return not asked or (place.startswith(asked) and not place[len(asked) :][:1].isdigit())


def _show_fact(fact: "Fact", data: bytes) -> None:
    if OPTIONS.json:
        value: dict[str, Any] = asdict(fact) | {"path": f"{fact.resource}#{fact.path}", "place": str(fact.place or "")}
        del value["resource"]
        emit("chartbridge.map.explain/1", value | _content(data, fact.bytes), "")
        return
    short = fact.resource.split("/")[0] + "/" + fact.resource.split("/")[1][:8]
    span = f"bytes {fact.bytes[0]}–{fact.bytes[1]}" if fact.bytes else ""
    shown = _content(data, fact.bytes).get("value", "")
    left = f"{short:<24} {fact.path:<44} ← {fact.place or ''!s:<12} {span:<16} {fact.type:<32}"
    line(f"{left} {fact.row:<28} {fact.source} {shown}".rstrip())


def _show_unmapped(one: "Unmapped", data: bytes) -> None:
    value = {"unmapped": str(one.place), "bytes": one.bytes, "reason": one.reason} | _content(data, one.bytes)
    shown = value.get("value", "")
    emit("chartbridge.map.unmapped/1", value, f"not mapped: {one.place!s:<16} {one.reason} {shown}".rstrip())


def _content(data: bytes, span: tuple[int, int] | None) -> dict[str, str]:
    return {"value": data[span[0] : span[1]].decode("utf-8", "replace")} if data and span else {}


@app.command()
def lint(files: Files = None, profile: ProfileOption = "default") -> int:
    """Check the profile's rows; with files, the messages against the HL7 v2 grammar. Changes no result."""
    loaded = _profile(profile)
    progress(f"profile {loaded.name}: {len(loaded.maps.table)} rows, all fit the R4 schema")
    if not files:
        return Exit.DONE
    from adapter.sender import segments_end_in_cr
    from mappings.hl7v2.lint import lint as check

    rows = [
        {"file": file.name, "severity": finding.severity, "finding": finding.text}
        for file, data in _messages(files)
        for finding in check(segments_end_in_cr(data), charset=loaded.charset)
    ]
    emit_list("chartbridge.map.lint/1", rows, ("file", "severity", "finding"))
    return Exit.FAILED if any(row["severity"] == "error" for row in rows) else Exit.DONE


@app.command()
def coverage(files: Files = None, profile: ProfileOption = "default") -> int:
    """Which rows the messages fire; those that none does are listed, and fail."""
    from mappings.hl7v2.explain import coverage as measure

    loaded = _profile(profile)
    found = measure((data for _, data in _messages(files or [_samples()])), loaded)
    silent = [{"row": row.id, "source": row.place} for row in found.silent]
    emit_list("chartbridge.map.coverage/1", silent, ("row", "source"), title="rows that no message fires")
    progress(f"{len(found.fired)} rows fired, {len(silent)} not")
    return Exit.FAILED if silent else Exit.DONE


def _samples() -> Path:
    from adapter.samples import folder

    return folder()
