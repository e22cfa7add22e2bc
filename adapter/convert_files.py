"""Files to FHIR Bundles, with no store: what `chartbridge convert` does.

A folder's files keep their path below it; a file keeps its name. Two inputs for one target are refused before anything
is written. A file that cannot be converted costs only itself. Line ends are the reader's to understand: bytes are
converted as they lie there. Source: operations chapter §1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import OURS, UsageError, whereabouts
from mappings.bundle import Kind, bundle
from mappings.convert import Profile, to_fhir
from mappings.errors import MappingError
from mappings.fhir.codec import encode


@dataclass(frozen=True, slots=True)
class Converted:
    """One input: where its Bundle went and what was said about it, or why there is none."""

    source: Path
    target: Path
    resources: int = 0
    issues: tuple[str, ...] = ()
    failure: str = ""


def plan(arguments: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Pairs of input and target. Raises UsageError: an input is missing, two have one target, or there is none.

    What lies in `out` already is no input: the same command may be given twice.
    """
    pairs: dict[Path, Path] = {}
    written = out.resolve()
    for source, below in _files(arguments):
        if source.resolve().is_relative_to(written):
            continue
        target = out / f"{below}.json"
        if target in pairs:
            raise UsageError(f"two inputs would become {target}", hint="convert them into two folders")
        pairs[target] = source
    if not pairs:
        raise UsageError("no file to convert", hint="name files, or folders of them")
    return [(source, target) for target, source in pairs.items()]


def _files(arguments: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    for argument in arguments:
        if argument.is_file():
            yield argument, Path(argument.name)
        elif argument.is_dir():
            for file in sorted(path for path in argument.rglob("*") if path.is_file()):
                yield file, file.relative_to(argument)
        else:
            raise UsageError(f"no such file or folder: {argument}")


def convert_file(source: Path, target: Path, profile: Profile, kind: Kind) -> Converted:
    """Convert one file and write its Bundle; a failure is a result, not an exception."""
    try:
        conversion = to_fhir(source.read_bytes(), profile)
        made = bundle(conversion, kind)
        _put(target, encode(made) + b"\n")
    except MappingError as exc:
        return Converted(source, target, failure=str(exc))
    except OSError as exc:
        return Converted(source, target, failure=exc.strerror or type(exc).__name__)
    except OURS as exc:
        return Converted(source, target, failure=f"a fault of the program: {whereabouts(exc)}")
    issues = tuple(f"{issue.severity} {issue.code} {issue.place}".rstrip() for issue in conversion.issues)
    return Converted(source, target, len(made.get("entry", ())), issues)


def _put(target: Path, data: bytes) -> None:
    """Whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(data)
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
