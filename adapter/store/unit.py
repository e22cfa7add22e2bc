"""What goes into one unit of work, and what comes out: a message's conversion, or a REST write.

A unit is committed whole or not at all. Its entries are of three kinds: `Convert` (a conversion's resource, merged
into what is stored), `Replace` (a create or an update with the content as it shall stand) and `Delete`. What else a
unit does is said by the conversion's effects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from adapter.seal.commitment import Digest
from mappings.fhir.codec import Json

if TYPE_CHECKING:
    from mappings.convert import Effect, Mapped

# identifier types of table 0203 that say who somebody is; NNxxx is a country's own (fhir chapter §5)
PATIENT_MATCH = frozenset({"MR", "PI", "NI", "SS"})


@dataclass(frozen=True, slots=True)
class EventParts:
    """What a ledger event says besides id, organisation and subject, which the outbox row knows."""

    type: str
    clear: Mapping[str, object] = field(default_factory=dict)
    secret: Mapping[str, object] = field(default_factory=dict, repr=False)
    detail: bytes | None = field(default=None, repr=False)
    ends: tuple[str, ...] = ()


# (canonical bytes, version, epoch, lastUpdated): a Consent's event commits to the very bytes that were stamped
ExtraEvent = Callable[[bytes, int, int, datetime], EventParts]


@dataclass(frozen=True, slots=True)
class Convert:
    """One resource of a conversion; its mode says how it meets what is stored."""

    mapped: "Mapped"


@dataclass(frozen=True, slots=True)
class Replace:
    """The content of `Type/id` as it shall stand. `resource` holds its id; `if_match` is the version expected."""

    resource: Json = field(repr=False)
    if_match: int | None = None
    event: ExtraEvent | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A delete marker, if there is something to delete."""

    type: str
    id: str = field(repr=False)
    if_match: int | None = None


Entry = Convert | Replace | Delete


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work.

    `kind` is the type of the event that each patient's part becomes; `secret` and `clear` are its facts besides content
    and subject (a message's source digest and mapping revision, a write's actor). `who` is the feed or the client, `at`
    the clock that stamps, `seq` the journal's number of the message. `invariants`: what is written has to keep R4's
    constraints too; `proven`: the caller has asked them of it already.
    """

    kind: str
    who: str
    at: datetime
    entries: tuple[Entry, ...]
    effects: "tuple[Effect, ...]" = ()
    clear: Mapping[str, object] = field(default_factory=dict)
    secret: Mapping[str, object] = field(default_factory=dict, repr=False)
    detail: bytes | None = field(default=None, repr=False)
    seq: int | None = None
    match: frozenset[str] = PATIENT_MATCH
    invariants: bool = True
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One version that was written, or that stands unchanged (`op` is then empty)."""

    type: str
    id: str = field(repr=False)
    rid: int
    ver: int
    owner: int
    op: str
    at: int
    body: bytes | None = field(repr=False, default=None)
    digest: Digest | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class StoreIssue:
    """Something the store noticed: a code of the conversion's closed list, and what it is about; never a value."""

    code: str
    type: str


@dataclass(frozen=True, slots=True)
class Written:
    """What a unit did. `results` stand in the order of the entries: None where there was nothing to write.

    `txn` is 0 when nothing was written at all. `events` are the ids of the outbox rows.
    """

    txn: int
    results: tuple[Change | None, ...] = ()
    changes: tuple[Change, ...] = ()
    issues: tuple[StoreIssue, ...] = ()
    events: tuple[bytes, ...] = ()
    epochs: Mapping[int, int] = field(default_factory=dict)
