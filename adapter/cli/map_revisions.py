"""`chartbridge map test` and `map diff`: a profile against its fixtures, an old mapping against a new one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli import map_documents
from adapter.cli.console import Exit, emit, emit_list, progress
from adapter.cli.map_inputs import Feed, Files, Limit, Since, here, inputs, named
from adapter.errors import UsageError

if TYPE_CHECKING:
    from mappings.compare import Change
    from mappings.profile import Profile

Values = Annotated[bool, typer.Option("--values", help="Show the content that differs too.")]


def add_to(app: typer.Typer) -> None:
    """Put these verbs below `map`."""
    app.command("test")(check)
    app.command("diff")(diff)


def check(
    profile: Annotated[list[Path] | None, typer.Argument(help="Profile folders, or names of shipped ones.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Record what each fixture becomes now; then read it.")] = False,
    values: Values = False,
) -> int:
    """Hold each fixture of a profile against its record; then name the profile's own rows that no fixture fires.

    Without a name: every profile with fixtures, the site's and the shipped ones.
    """
    from adapter.profiles import read_profile
    from mappings import fixtures
    from mappings.profile import profile_folder

    if write and not profile:
        raise UsageError("name the profile whose records to write", hint="chartbridge map test PROFILE --write")
    failed = False
    for where in [named(str(each)) for each in profile or _with_fixtures()]:
        loaded, folder = read_profile(where), profile_folder(where)
        found = fixtures.messages(folder)
        if not found:
            progress(f"{loaded.name}: no fixture below {folder.name}/{fixtures.FOLDER}")
        for each in found:
            result = fixtures.check(each, loaded, write=write)
            failed |= result.failed
            value = {"profile": loaded.name, "fixture": result.name, "state": result.state, "why": result.why}
            emit(
                "chartbridge.map.test/1",
                value,
                f"{loaded.name:<16} {result.name:<32} {result.state}  {result.why}".rstrip(),
            )
            _show(result.changes, values)
        failed |= _silent(loaded, found)
    return Exit.FAILED if failed else Exit.DONE


def _with_fixtures() -> list[Path]:
    """The folders of the shipped profiles, and of the site's where there is one, that bring fixtures; a site's stands
    for the shipped one of its name.
    """
    from mappings import fixtures
    from mappings.profile import PROFILES

    site = here()
    folders = [PROFILES] if site is None else [PROFILES, site / "profiles"]
    found = {each.parent.name: each.parent for folder in folders for each in folder.glob("*/profile.toml")}
    return [found[name] for name in sorted(found) if fixtures.messages(found[name])]


def _silent(profile: "Profile", messages: Iterable[Path]) -> bool:
    """Whether the profile has rows of its own, base rows aside, that none of its fixtures fires; they are named."""
    _, silent = map_documents.coverage([each.read_bytes() for each in messages], profile, own=True)
    rows = [{"row": row.id, "source": row.place} for row in silent]
    emit_list("chartbridge.map.coverage/1", rows, ("row", "source"), title="rows of the profile that no fixture fires")
    return bool(silent)


def diff(
    old: Annotated[str, typer.Argument(help="The mapping that is: a profile, or a folder of records.")],
    new: Annotated[str, typer.Argument(help="The mapping that may come: a profile.")],
    files: Files = None,
    feed: Feed = "",
    since: Since = "",
    limit: Limit = 1_000,
    values: Values = False,
) -> int:
    """Convert the same messages by both; what changed, and what got worse: a value gone, a new issue, a refusal.

    A folder of records is what `map run --record` wrote, with an older version of the program or of a profile.
    """
    from adapter.profiles import read_profile
    from mappings.compare import compare

    after = read_profile(named(new))
    records = Path(old) if Path(old).is_dir() and not (Path(old) / "profile.toml").is_file() else None
    before = None if records is not None else read_profile(named(old))
    verdicts: Counter[str] = Counter()
    for each in inputs(files, feed, since, limit):
        recorded = _read(records, each.name) if before is None else _record(each.data, before)
        found = compare(recorded, _record(each.data, after))
        verdicts[found.verdict] += 1
        if found.changes:
            value = {"message": each.name, "verdict": found.verdict, "changes": len(found.changes)}
            emit("chartbridge.map.diff/1", value, f"{each.name}: {found.verdict}, {len(found.changes)} changes")
            _show(found.changes, values, each.name)
    progress(", ".join(f"{verdicts[each]} {each}" for each in ("unchanged", "changed", "worse")))
    return Exit.FAILED if verdicts["worse"] else Exit.DONE


def _record(data: bytes, profile: "Profile") -> bytes | None:
    from mappings.convert import to_fhir
    from mappings.errors import MappingError
    from mappings.record import record

    try:
        return record(to_fhir(data, profile))
    except MappingError:
        return None


def _read(folder: Path | None, name: str) -> bytes | None:
    """A record by the name of its message; None where the message could not be converted then."""
    if folder is None:
        return None
    file = folder / f"{Path(name).name}.json"
    if not file.is_file():
        raise UsageError(f"no record of {Path(name).name}", hint="chartbridge map run --record DIR FILE…")
    data = file.read_bytes()
    return data or None


def _show(changes: Iterable["Change"], values: bool, message: str = "") -> None:
    for change in changes:
        value: dict[str, Any] = asdict(change) | ({"message": message} if message else {}) | {"lost": change.lost}
        if not values:
            del value["old"], value["new"]
        emit("chartbridge.map.change/1", value, "  " + " ".join(_words(change, values)))


def _words(change: "Change", values: bool) -> Iterator[str]:
    yield {"added": "+", "removed": "-", "changed": "~"}[change.kind]
    kind, _, number = change.resource.partition("/")
    yield f"{kind}/{number[:8]} {change.path}" if kind else change.path
    if change.path in ("issue", "effect"):
        yield (change.new or change.old) if values or change.path == "issue" else ""
    elif values:
        yield f"{change.old} → {change.new}"


def record_to(folder: Path, inputs_: Iterable[Any], profile: "Profile") -> int:
    """Write the record of each message into a folder, an empty one where it cannot be converted; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    for each in inputs_:
        name = f"{Path(each.name).name}.json"
        if name in written:
            raise UsageError(f"two messages would become {name}", hint="record them into two folders")
        written.add(name)
        (folder / name).write_bytes(_record(each.data, profile) or b"")
    return len(written)
