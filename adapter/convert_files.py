"""Files to FHIR Bundles, with no store: what `chartbridge convert` does.

A folder's files keep their path below it; a file keeps its name. What lies in a folder and is neither a message nor a
document is left out, and told of (`file_kinds.py`); a file that is named is converted, or fails. Two inputs for one
target are refused before anything is written. A file that cannot be converted costs only itself. Line ends are the
reader's to understand: bytes are converted as they lie there.

Of a batch, or of several messages in a row, each becomes a Bundle of its own: they are statements whose order counts.
`night.hl7` with 12 messages becomes the folder `night.hl7/` with `01.json` to `12.json`. A CDA document is one whatever
it holds, and becomes a document Bundle unless another kind is asked for. Source: operations chapter §1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from adapter.errors import OURS, TooLarge, UsageError, whereabouts
from adapter.file_kinds import is_convertible, is_writable
from adapter.files import put_whole
from adapter.inbound.batch import Part, split
from mappings.bundle import Kind, bundle, usual
from mappings.convert import Profile, to_fhir
from mappings.errors import MappingError
from mappings.fhir.codec import encode

MOST_MESSAGES = 1_000_000  # of one file


@dataclass(frozen=True, slots=True)
class Converted:
    """One message: where its Bundle went and what was said about it, or why there is none.

    `message` is its number in its file, 0 where the file is one message.
    """

    source: Path
    target: Path
    resources: int = 0
    issues: tuple[str, ...] = ()
    failure: str = ""
    message: int = 0

    @property
    def name(self) -> str:
        return f"{self.source}#{self.message}" if self.message else str(self.source)


class Plan(NamedTuple):
    """Pairs of input and target, and the files of folders that are left out."""

    pairs: list[tuple[Path, Path]]
    left_out: list[Path]


def plan(arguments: Sequence[Path], out: Path, suffix: str = "") -> Plan:
    """What is to be converted. Raises UsageError: an input is missing, two have one target, or there is none.

    What lies in `out` already is no input: the same command may be given twice. A target is the file's name with
    `.json` behind it, or with `suffix` in place of its own, which is for FHIR files.
    """
    pairs: dict[Path, Path] = {}
    left_out: list[Path] = []
    written = out.resolve()
    is_meant = is_writable if suffix else is_convertible
    for source, below, named in _files(arguments):
        if source.resolve().is_relative_to(written):
            continue
        if not named and not is_meant(source):
            left_out.append(source)
            continue
        target = out / (below.with_suffix(suffix) if suffix else f"{below}.json")
        if target in pairs:
            raise UsageError(f"two inputs would become {target}", hint="convert them into two folders")
        pairs[target] = source
    if not pairs:
        raise UsageError("no file to convert", hint="name files, or folders of them")
    return Plan([(source, target) for target, source in pairs.items()], left_out)


def _files(arguments: Sequence[Path]) -> Iterator[tuple[Path, Path, bool]]:
    """(file, its path below what was named, whether it was named itself)."""
    for argument in arguments:
        if argument.is_file():
            yield argument, Path(argument.name), True
        elif argument.is_dir():
            for file in sorted(path for path in argument.rglob("*") if path.is_file()):
                yield file, file.relative_to(argument), False
        else:
            raise UsageError(f"no such file or folder: {argument}")


def messages_in(data: bytes) -> list[bytes]:
    """The messages of a file: one, or those of a batch. Raises TooLarge."""
    batch = split(data, MOST_MESSAGES)
    return [data] if batch is None or not batch.parts else [part.data for part in batch.parts]


def convert_file(
    source: Path,
    target: Path,
    profile: Profile,
    kind: Kind | None = None,
    taken: frozenset[Path] = frozenset(),
    at: datetime | None = None,
) -> Iterator[Converted]:
    """Convert one file and write its Bundles; a failure is a result, not an exception. `taken`: targets of others;
    `at`: the time at hand, for a Bundle that has to have one and is of a document that nobody can know the time of.

    Without a kind a document becomes a document, a message a transaction.
    """
    try:
        data = source.read_bytes()
        batch = split(data, MOST_MESSAGES)
    except OSError as exc:
        yield Converted(source, target, failure=exc.strerror or type(exc).__name__)
        return
    except TooLarge as exc:
        yield Converted(source, target, failure=exc.text)
        return
    if batch is None or not batch.parts:
        yield _convert(Converted(source, target), Part(data), profile, kind, at)
        return
    digits = len(str(len(batch.parts)))
    for n, part in enumerate(batch.parts, 1):
        made = target.with_suffix("") / f"{n:0{digits}}.json"
        one = Converted(source, made, message=n)
        if made in taken:
            yield replace(one, failure="another input becomes this Bundle")
        else:
            yield _convert(one, part, profile, kind, at)


def _convert(one: Converted, part: Part, profile: Profile, kind: Kind | None, at: datetime | None) -> Converted:
    try:
        conversion = to_fhir(part.data, profile)
        made = bundle(conversion, kind or usual(conversion), at.isoformat() if at is not None else "")
        put_whole(one.target, encode(made) + b"\n")
    except MappingError as exc:
        return replace(one, failure=str(exc))
    except OSError as exc:
        return replace(one, failure=exc.strerror or type(exc).__name__)
    except OURS as exc:
        return replace(one, failure=f"a fault of the program: {whereabouts(exc)}")
    issues = [f"{issue.severity} {issue.code} {issue.place}".rstrip() for issue in conversion.issues]
    if part.miscounted:
        issues.append("warning batch-count")
    return replace(one, resources=len(made.get("entry", ())), issues=tuple(issues))
