"""Sequencing: what becomes an entry, in which order and at what time. Pure; the store brings facts and keeps writes.

`prepare` does, before the queue, all that does not need the head: rules of the type, commitments, sealed detail,
encoding. `sequence` then decides a whole group against facts, and what it decides is written only where they hold:
- the same id and event gives the same receipt; the same id and another event is a conflict
- nothing is sequenced after the end, or the `until`, of what it requires, nor under an older epoch of its subject
- what has ended cannot end again
- time never goes back
- a caller's events stand or fall together, and alone in their group
Source: ledger chapter §2, §3, §6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ledger.commitment import (
    ORGANISATION,
    Entropy,
    commit_fields,
    lone_tag,
    seal_detail,
    subject_tag,
)
from ledger.errors import BasisEnded, ConflictError, EntryError, LedgerError
from ledger.event import (
    NONE,
    VERSION,
    Event,
    Need,
    RequiresRef,
    TypeRule,
    Types,
    committed_bytes,
    decode,
    encode_guarded,
    guard,
    id_bytes,
    is_timestamp,
    missing,
    parse_reference,
)
from ledger.merkle import Digest, leaf_hash
from ledger.store.base import Entry, Facts, Head, Question, Writes

EPOCH = "epoch"  # stands in BasisEnded.refs for a subject's newer epoch: no row number in a message
_ACCESS = "access."
_T = b'"t":"'
_T_BYTES = 24
_MONTH = 7  # of "2026-03-04T…"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an event was logged; `str()` is its reference, "2026:8123"."""

    shard: str
    index: int
    leaf_hash: Digest
    t: str

    def __str__(self) -> str:
        return f"{self.shard}:{self.index}"


@dataclass(slots=True)
class Prepared:
    """An event ready for the queue: its entry encoded under an assumed time, which stands at `cut`."""

    event: Event
    id: bytes
    origin: str
    entry: dict[str, Any] = field(repr=False)
    body: bytes = field(repr=False)
    cut: int
    sealed: bytes | None = field(repr=False)

    def at(self, t: str) -> bytes:
        """The entry's bytes at time `t`. A month other than assumed has another tag."""
        if t[:_MONTH] == self.entry["t"][:_MONTH]:
            return self.body[: self.cut] + t.encode() + self.body[self.cut + _T_BYTES :]
        return encode_guarded({**self.entry, "t": t, **_tag(self.event, self.id, self.origin, t)})


Batch = Sequence[Prepared]


def prepare(event: Event, origin: str, t: str, rules: Types, entropy: Entropy) -> Prepared:
    """All of an entry but its true time. Raises EntryError for what the type or the grammar does not allow."""
    event_id = id_bytes(event.id)
    row = rules.get(event.type)
    if row is None:
        raise EntryError("event type is not registered")
    _check(event, row)
    entry: dict[str, Any] = {"v": VERSION, "type": event.type, "id": event.id, "org": event.org, "t": t}
    if event.outcome is not None:
        entry["outcome"] = event.outcome
    if event.clear:
        entry["d"] = dict(event.clear)
        guard(entry["d"])
    key, sealed = event.subject_key, None
    if key is not None:
        entry |= _tag(event, event_id, origin, t)
        if event.secret or row.committed:
            entry["c"] = commit_fields(key, event_id, _committed(event, row))
        if event.detail is not None:
            sealed = seal_detail(key, origin, event_id, event.detail, entropy)
    body = encode_guarded(entry)
    return Prepared(event, event_id, origin, entry, body, body.rindex(_T) + len(_T), sealed)


def _committed(event: Event, row: TypeRule) -> dict[str, bytes]:
    """A refusal commits to `none` where it has no value, and so looks like any other."""
    values = {name: committed_bytes(value) for name, value in event.secret.items()}
    if len(values) < len(row.committed):
        values |= {name: NONE.encode() for name in missing(row.committed, values)}
    return values


def _check(event: Event, row: TypeRule) -> None:
    """The rules of the type, and that everything refers to what can exist."""
    _check_org(event.org)
    if event.clear or row.clear or event.secret.keys() != row.committed:
        _names(event, row)
    _presence(event.type, "outcome", event.outcome is not None, row.outcome)
    _presence(event.type, "detail", event.detail is not None, row.detail)
    _presence(event.type, "epoch", event.epoch is not None, Need.MUST if row.epoch else Need.NO)
    keyed = bool(event.secret) or event.detail is not None or row.epoch or event.type.startswith(_ACCESS)
    if keyed and event.subject_key is None:
        raise EntryError(f"{event.type} needs a subject key")
    if event.outcome not in (None, "permit", "deny"):
        raise EntryError("outcome is neither permit nor deny")
    for ref in event.ends:
        parse_reference(ref)
    for needed in event.requires:
        if isinstance(needed, RequiresRef):
            parse_reference(needed.ref)
            if needed.until is not None and not is_timestamp(needed.until):
                raise EntryError("required until is not a time")


@lru_cache(maxsize=1_024)
def _check_org(org: str) -> None:
    if not org:
        raise EntryError("event has no org")
    guard(org)


def _names(event: Event, row: TypeRule) -> None:
    if absent := missing(row.clear, event.clear):
        raise EntryError(f"{event.type} lacks {', '.join(absent)}")
    if extra := event.clear.keys() - row.clear - row.may_clear:
        raise EntryError(f"{event.type} has no clear field {', '.join(sorted(extra))}")
    if extra := event.secret.keys() - row.committed - row.may_commit:
        raise EntryError(f"{event.type} commits to no {', '.join(sorted(extra))}")
    if event.outcome != "deny" and (absent := missing(row.committed, event.secret)):
        raise EntryError(f"{event.type} does not commit to {', '.join(absent)}")


def _presence(type_: str, what: str, given: bool, need: Need) -> None:
    if need is Need.MUST and not given:
        raise EntryError(f"{type_} needs {what}")
    if need is Need.NO and given:
        raise EntryError(f"{type_} has no {what}")


def _tag(event: Event, event_id: bytes, origin: str, t: str) -> dict[str, str]:
    """The subject's tag; an access about nobody gets one that nobody's key finds."""
    key = event.subject_key
    if key is None:
        return {}
    if key.row != ORGANISATION:
        return {"tag": subject_tag(key, origin, t[:_MONTH])}
    return {"tag": lone_tag(key, event_id)} if event.type.startswith(_ACCESS) else {}


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What is to be written, and for each batch its receipts or the fault that it fails with."""

    writes: Writes
    outcomes: tuple[list[Receipt] | LedgerError, ...]

    def behind(self, start: int) -> "Sequenced":
        """The same, its first entry at this index."""
        entries = self.writes.entries
        by = start - entries[0].index if entries else 0
        if by == 0:
            return self
        moved = [Entry(entry.index + by, entry.id, entry.leaf, entry.body) for entry in entries]
        ended = {ref: index + by for ref, index in self.writes.ended.items()}
        head = Head(self.writes.head.size + by, self.writes.head.last_t)
        first = entries[0].index
        outcomes = tuple(_behind(outcome, first, by) for outcome in self.outcomes)
        return Sequenced(Writes(head, moved, ended, self.writes.epochs), outcomes)


def _behind(outcome: list[Receipt] | LedgerError, first: int, by: int) -> list[Receipt] | LedgerError:
    """Receipts of what was written before stay as they are."""
    if isinstance(outcome, LedgerError):
        return outcome
    return [
        Receipt(each.shard, each.index + by, each.leaf_hash, each.t) if each.index >= first else each
        for each in outcome
    ]


def question(batches: Sequence[Batch]) -> Question:
    """What must be known to decide the group."""
    ids, refs, subjects = [], set[str](), set[int]()
    epochs: dict[int, int] = {}
    for batch in batches:
        for prepared in batch:
            event = prepared.event
            ids.append(prepared.id)
            refs.update(event.ends)
            if event.epoch is not None and event.subject_key is not None:
                subjects.add(event.subject_key.row)
            for needed in event.requires:
                if isinstance(needed, RequiresRef):
                    refs.add(needed.ref)
                else:
                    row = needed.subject_row
                    subjects.add(row)
                    epochs[row] = min(needed.epoch, epochs.get(row, needed.epoch))
    return Question(ids, sorted(refs), sorted(subjects), epochs)


def sequence(batches: Sequence[Batch], facts: Facts, now: str, shard: str) -> Sequenced:
    """Decide a group in the order of its batches. Every entry of it bears one time."""
    group = _Group(facts, max(now, facts.head.last_t), shard)
    outcomes = tuple(group.take(batch) for batch in batches)
    return Sequenced(group.writes(), outcomes)


class _Group:
    """The log as it will be: what the store holds and what this group has taken so far."""

    def __init__(self, facts: Facts, t: str, shard: str) -> None:
        self.head = facts.head
        self.t = t
        self.shard = shard
        self.known = dict(facts.entries)
        self.ended = dict(facts.ended)
        self.epochs = dict(facts.epochs)
        self.entries: list[Entry] = []
        self.new_ended: dict[str, int] = {}
        self.new_epochs: dict[int, int] = {}

    def take(self, batch: Batch) -> list[Receipt] | LedgerError:
        stage = _Stage(self)
        try:
            receipts = [stage.take(prepared) for prepared in batch]
            stage.settle()
        except (BasisEnded, ConflictError, EntryError) as fault:
            return fault
        self.entries += stage.entries.values()
        self.known |= stage.entries
        self.new_ended |= stage.ended
        self.new_epochs |= stage.epochs
        self.ended |= stage.ended
        self.epochs |= stage.epochs
        return receipts

    def writes(self) -> Writes:
        if not self.entries:
            return Writes(self.head)
        head = Head(self.head.size + len(self.entries), self.t)
        return Writes(head, self.entries, self.new_ended, self.new_epochs)


class _Stage:
    """One batch on top of its group; dropped whole when one of its events fails."""

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.next = group.head.size + len(group.entries)
        self.entries: dict[bytes, Entry] = {}
        self.ended: dict[str, int] = {}
        self.epochs: dict[int, int] = {}
        self.lapsed: list[str] = []

    def take(self, prepared: Prepared) -> Receipt:
        known = self.group.known.get(prepared.id) or self.entries.get(prepared.id)
        if known is not None:
            return self._again(prepared, known)
        self._require(prepared.event)
        self._end(prepared.event)
        self._raise_epoch(prepared.event)
        body = prepared.at(self.group.t)
        entry = Entry(self.next, prepared.id, leaf_hash(body), body)
        self.entries[prepared.id] = entry
        self.next += 1
        return Receipt(self.group.shard, entry.index, entry.leaf, self.group.t)

    def settle(self) -> None:
        """The whole batch is known: fail with everything that has ended, not with the first."""
        if self.lapsed:
            raise BasisEnded(tuple(dict.fromkeys(self.lapsed)))

    def _again(self, prepared: Prepared, known: Entry) -> Receipt:
        t: str = decode(known.body)["t"]
        if known.index < 0 or prepared.at(t) != known.body:
            raise ConflictError("event id is taken by another event")
        return Receipt(self.group.shard, known.index, known.leaf, t)

    def _require(self, event: Event) -> None:
        for needed in event.requires:
            if isinstance(needed, RequiresRef):
                lapsed = needed.until is not None and needed.until <= self.group.t
                if lapsed or self._has_ended(needed.ref) or not self._exists(needed.ref):
                    self.lapsed.append(needed.ref)
            elif self._epoch(needed.subject_row) > needed.epoch:
                self.lapsed.append(EPOCH)

    def _end(self, event: Event) -> None:
        for ref in event.ends:
            if self._has_ended(ref):
                raise ConflictError(f"{ref} has ended already")
            if not self._exists(ref):
                raise ConflictError(f"{ref} is not in the log, and cannot end")
            self.ended[ref] = self.next

    def _raise_epoch(self, event: Event) -> None:
        if event.epoch is not None and event.subject_key is not None:
            row = event.subject_key.row
            self.epochs[row] = max(self._epoch(row), event.epoch)

    def _has_ended(self, ref: str) -> bool:
        return ref in self.ended or ref in self.group.ended

    def _exists(self, ref: str) -> bool:
        """References into other shards are taken on trust: that shard's end names its last entry."""
        shard, index = parse_reference(ref)
        return shard != self.group.shard or index < self.next

    def _epoch(self, row: int) -> int:
        return self.epochs.get(row, self.group.epochs.get(row, 0))
