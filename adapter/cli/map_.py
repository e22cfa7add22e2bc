"""`chartbridge map`: which row made which value, what was left, and which rows nothing fires."""

import sys
from csv import writer as csv_writer
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli import map_documents, map_revisions
from adapter.cli.console import OPTIONS, Exit, complain, emit, emit_list, line, progress
from adapter.cli.map_inputs import Feed, Files, Limit, ProfileOption, Since, inputs, named, profile_for
from adapter.errors import UsageError

if TYPE_CHECKING:
    from mappings.hl7v2.explain import Fact, Unmapped
    from mappings.profile import Profile

app = typer.Typer(no_args_is_help=True, help="Mappings: explain a conversion, check rows and messages, show coverage.")

map_revisions.add_to(app)


def _profile(name: str) -> "Profile":
    from adapter.profiles import read_profile

    return read_profile(named(name or "default"))


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="One HL7 v2 message, or one CDA document.")],
    path: Annotated[str, typer.Option(help="Only FHIR paths that begin so, like Patient.name.")] = "",
    place: Annotated[str, typer.Option(help="Only this field, like PID-8; of a document, this element.")] = "",
    values: Annotated[bool, typer.Option("--values", help="Show the content of the fields too.")] = False,
    profile: ProfileOption = "",
) -> None:
    """For each FHIR value the field or element it came from; then what was not mapped, and why."""
    from mappings.convert import is_document
    from mappings.hl7v2.explain import explain as read

    if not file.is_file():
        raise UsageError(f"no such file: {file}", hint="name one file with one message")
    data = file.read_bytes()
    if is_document(data):
        map_documents.explain(data, _profile(profile), path, place, values=values)
        return
    found = read(data, _profile(profile))
    facts = [fact for fact in found.facts if _asked(fact, path, place)]
    left = [one for one in found.unmapped if not path and _within(str(one.place), place)]
    for fact in facts:
        _show_fact(fact, data if values else b"", found.charset)
    for one in left:
        _show_unmapped(one, data if values else b"", found.charset)
    progress(f"{len(facts)} values, {len(left)} fields not mapped")


def _asked(fact: "Fact", path: str, place: str) -> bool:
    kind = fact.resource.split("/")[0]
    return f"{kind}.{fact.path}".startswith(path) and _within(str(fact.place or ""), place)


def _within(place: str, asked: str) -> bool:
    """PID-3 holds PID-3.4 and PID-3[2], and not PID-30."""
    return not asked or (place.startswith(asked) and not place[len(asked) :][:1].isdigit())


def _show_fact(fact: "Fact", data: bytes, charset: str) -> None:
    if OPTIONS.json:
        value: dict[str, Any] = asdict(fact) | {"path": f"{fact.resource}#{fact.path}", "place": str(fact.place or "")}
        del value["resource"]
        emit("chartbridge.map.explain/1", value | _content(data, fact.bytes, charset), "")
        return
    short = fact.resource.split("/")[0] + "/" + fact.resource.split("/")[1][:8]
    span = f"bytes {fact.bytes[0]}–{fact.bytes[1]}" if fact.bytes else ""
    shown = _content(data, fact.bytes, charset).get("value", "")
    left = f"{short:<24} {fact.path:<44} ← {fact.place or ''!s:<12} {span:<16} {fact.type:<32}"
    line(f"{left} {fact.row:<28} {fact.source} {shown}".rstrip())


def _show_unmapped(one: "Unmapped", data: bytes, charset: str) -> None:
    value = {"unmapped": str(one.place), "bytes": one.bytes, "reason": one.reason} | _content(data, one.bytes, charset)
    shown = value.get("value", "")
    emit("chartbridge.map.unmapped/1", value, f"not mapped: {one.place!s:<16} {one.reason} {shown}".rstrip())


def _content(data: bytes, span: tuple[int, int] | None, charset: str) -> dict[str, str]:
    return {"value": data[span[0] : span[1]].decode(charset, "replace")} if data and span else {}


@app.command("run")
def run_(
    files: Files = None,
    feed: Feed = "",
    since: Since = "",
    limit: Limit = 1_000,
    record: Annotated[Path | None, typer.Option(help="Write records for `map diff` here, not Bundles.")] = None,
    profile: ProfileOption = "",
) -> int:
    """Try a mapping: one Bundle a line on stdout, the issues on stderr. Nothing is stored."""
    from mappings.convert import bundle, to_fhir
    from mappings.errors import MappingError
    from mappings.fhir.codec import encode

    loaded, asked = profile_for(profile, feed), inputs(files, feed, since, limit)
    if record is not None:
        progress(f"{map_revisions.record_to(record, asked, loaded)} records written")
        return Exit.DONE
    done = failed = 0
    for each in asked:
        try:
            conversion = to_fhir(each.data, loaded, at=each.at)
        except MappingError as exc:
            complain(f"{each.name}: {exc}")
            failed += 1
            continue
        done += 1
        sys.stdout.write(encode(bundle(conversion, "collection")).decode() + "\n")
        for issue in conversion.issues:
            progress(f"{each.name}: {issue.severity} {issue.code} {issue.place or ''}".rstrip())
    return Exit.DONE if not failed else Exit.PARTLY if done else Exit.FAILED


@app.command()
def unmapped(
    files: Files = None,
    feed: Feed = "",
    since: Since = "",
    limit: Limit = 1_000,
    profile: ProfileOption = "",
) -> None:
    """Which places no row read, why, and in how many messages: the commonest first. Counts only, no content."""
    from mappings.hl7v2.census import Census

    census = Census(profile_for(profile, feed))
    for each in inputs(files, feed, since, limit):
        census.add(each.data, each.at.isoformat(timespec="seconds") if each.at else "")
    rows = [asdict(each) for each in census.unmapped()]
    emit_list("chartbridge.map.unmapped-place/1", rows, ("place", "reason", "messages", "seen"))
    progress(f"{census.read} messages, {len(rows)} places; {census.unreadable} could not be converted")


@app.command()
def codes(
    files: Files = None,
    feed: Feed = "",
    since: Since = "",
    limit: Limit = 1_000,
    csv: Annotated[str, typer.Option(help="Write the codes of this system as an empty code map, to fill in.")] = "",
    profile: ProfileOption = "",
) -> None:
    """Codes that nobody has mapped yet, the commonest first. Codes only, no other content of the messages."""
    from mappings.hl7v2.codes import as_map, worklist

    loaded = profile_for(profile, feed)
    found = worklist((each.data for each in inputs(files, feed, since, limit)), loaded)
    if csv:
        writer = csv_writer(sys.stdout, lineterminator="\n")
        writer.writerows(as_map(found, csv))
        return
    columns = ("field", "system", "code", "reason", "messages", "times")
    emit_list("chartbridge.map.codes/1", [asdict(each) for each in found], columns)
    progress(f"{len(found)} codes")


@app.command()
def lint(files: Files = None, profile: ProfileOption = "") -> int:
    """Check the profile's rows; with files, the messages against the HL7 v2 grammar. Changes no result."""
    loaded = _profile(profile)
    rows_known = len(loaded.maps.table) + len(loaded.cda.entries.table)  # reading them is the check
    progress(f"profile {loaded.name}: {rows_known} rows, all fit the R4 schema")
    if not files:
        return Exit.DONE
    from adapter.sender import segments_end_in_cr
    from mappings.convert import is_document
    from mappings.hl7v2.lint import lint as check

    rows = []
    for each in inputs(files, ""):
        if is_document(each.data):
            found = map_documents.lint(each.data, loaded)
        else:
            read = check(segments_end_in_cr(each.data), charset=loaded.charset)
            found = [(finding.severity, finding.text) for finding in read]
        rows += [{"file": each.name, "severity": severity, "finding": text} for severity, text in found]
    emit_list("chartbridge.map.lint/1", rows, ("file", "severity", "finding"))
    return Exit.FAILED if any(row["severity"] == "error" for row in rows) else Exit.DONE


@app.command()
def coverage(files: Files = None, profile: ProfileOption = "") -> int:
    """Which rows messages and documents fire, the samples where none are named; those that none does fail."""
    loaded = _profile(profile)
    fired, rows = map_documents.coverage([each.data for each in inputs(files or _samples(), "")], loaded)
    silent = [{"row": row.id, "source": row.place} for row in rows]
    emit_list("chartbridge.map.coverage/1", silent, ("row", "source"), title="rows that no message fires")
    progress(f"{fired} rows fired, {len(silent)} not")
    return Exit.FAILED if silent else Exit.DONE


def _samples() -> list[Path]:
    """The messages and the documents."""
    from adapter.samples import documents, folder

    return [folder(), documents()]
