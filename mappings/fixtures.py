"""A profile's own fixtures: messages and documents with what they become, recorded, read and kept beside the profile.

    profiles/NAME/fixtures/admission.hl7      a message; summary.xml a document
    profiles/NAME/fixtures/admission.json     its record (`record.py`)

Each message is converted twice, so that a hook or a row that is not a function of the message shows. The feed's rows
are covered when its fixtures fire them: `explain.coverage` says which.

Source: design chapter HL7 v2 §3, §12; operations chapter §1 (`map test`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mappings.compare import Change, compare
from mappings.convert import to_fhir
from mappings.errors import MappingError
from mappings.fhir.validate import validate
from mappings.profile import Profile
from mappings.record import record

FOLDER = "fixtures"
SUFFIXES = (".hl7", ".xml")
State = Literal["same", "differs", "unrecorded", "written", "invalid", "unsteady", "unreadable"]
FAILED: frozenset[State] = frozenset({"differs", "unrecorded", "invalid", "unsteady", "unreadable"})


@dataclass(frozen=True, slots=True)
class Result:
    """One fixture: whether it still becomes what was recorded. `why` names places and rules, no content."""

    name: str
    state: State
    changes: tuple[Change, ...] = ()
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.state in FAILED


def messages(profile_folder: Path) -> list[Path]:
    """The messages and documents of a profile's fixtures, in the order of their names."""
    return sorted(path for suffix in SUFFIXES for path in (profile_folder / FOLDER).glob(f"*{suffix}"))


def check(message: Path, profile: Profile, *, write: bool = False) -> Result:
    """Convert one fixture and hold it against its record; `write` records what it becomes."""
    data, recorded = message.read_bytes(), message.with_suffix(".json")
    try:
        conversion, again = to_fhir(data, profile), to_fhir(data, profile)
    except MappingError as exc:
        return Result(message.stem, "unreadable", why=str(exc))
    if (found := record(conversion)) != record(again):
        return Result(message.stem, "unsteady", why="two conversions of the same bytes differ")
    faults = [f"{fault.expression}: {fault.text}" for mapped in conversion.resources for fault in validate(mapped.body)]
    if faults:
        return Result(message.stem, "invalid", why="; ".join(faults))
    if write:
        recorded.write_bytes(found)
        return Result(message.stem, "written")
    if not recorded.is_file():
        return Result(message.stem, "unrecorded", why="no record beside it")
    changes = compare(recorded.read_bytes(), found).changes
    return Result(message.stem, "differs" if changes else "same", changes)
