"""The commit of one unit of work: everything of it, or nothing.

0. The locks (`locks.py`); on a file it is BEGIN IMMEDIATE. Nothing here waits for another store; keys that are not in
   memory raise NeedKeys, the caller's transaction rolls back and runs again with them.
1. Look up all names of the unit, through aliases (`names.py`).
2. Who is this patient: recognise known ones, give new ones an owner whose key is durable already.
3. Load what will be opened, named at once; find what is named by its number only (`reaching.py`).
4. Each entry: rewrite references to aliases, link to parents (`parents.py`), merge into what is stored, find the owner.
   Content that stands as it is writes nothing. Stamp, validate once, encode once: these bytes are digested and sealed.
5. Merges of patients, effects on what the unit did not name (`effects.py`).
6. One event for each owner (`outbox.py`), the notices of who listens (`subscriptions.py`), then the rows: versions,
   resources, the difference of tokens and edges.

What a unit writes is planned in memory and written at the end of its steps, so a unit that is refused wrote nothing but
numbers and owners, which its SAVEPOINT takes back.
Source: fhir chapter §5 "Commit of one unit", §8; hl7v2 chapter §8, §10.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection

from adapter.crash import crash_point
from adapter.errors import ChartbridgeError, IssueItem, PreconditionFailed, Unprocessable
from adapter.seal import envelope
from adapter.seal.commitment import Digest, content_line, digest, same_tag, unstamped
from adapter.seal.kek import Entropy
from adapter.seal.keyring import SHARED, Keyring, NeedKeys
from adapter.store import effects, locks, outbox, owners, subscriptions
from adapter.store.belonging import Belonging, follows
from adapter.store.clocks import Clock, open_clock, seal_clock
from adapter.store.engine import Hot, savepoint
from adapter.store.index import NO_POSTINGS, Speller, postings
from adapter.store.names import Known, Names, need, references, renamed
from adapter.store.parents import with_parents
from adapter.store.planned import Planned
from adapter.store.reaching import reach, spread
from adapter.store.unit import (
    Change,
    Convert,
    Delete,
    EventParts,
    ExtraEvent,
    Replace,
    StoreIssue,
    Unit,
    Written,
)
from ledger.event import id_bytes, new_id
from mappings.convert import Mapped, Repoint
from mappings.errors import MappingError
from mappings.fhir.codec import Json
from mappings.fhir.invariants import broken, key_of
from mappings.fhir.schema import schema
from mappings.fhir.validate import written
from mappings.merge import settle

LAYERS = "bytes schema narrative"  # what ran before these bytes were sealed; and, where the unit asks it, the next
INVARIANTS = "invariants"
CONSENT = "Consent"  # writing one changes who may see the patient: the epoch rises
MERGED = "subject.merged"
ABOUT = ("subject", "patient", "beneficiary")  # elements that say whose a resource is

T = TypeVar("T")


def commit_unit(
    conn: Connection, unit: Unit, keyring: Keyring, entropy: Entropy = os.urandom, *, locked: bool = False
) -> Written:
    """Write a unit inside the caller's transaction. Raises NeedKeys; Unprocessable, PreconditionFailed: wrote nothing.

    A caller that goes on after a refusal wraps this in a `savepoint`, as `in_order` does. One that looks before it
    writes, or that writes several, has taken the locks of all (`locks.take`) and says so: `locked`.
    """
    if not locked:
        locks.take(Hot(conn), keyring.organisation(), unit.entries)
    return Commit(conn, unit, keyring, entropy).run()


def in_order(
    conn: Connection,
    works: Sequence[Callable[[Connection], T]],
    refused: Callable[[Connection, int, ChartbridgeError | MappingError], T],
) -> list[T]:
    """Several units in one transaction, each in a SAVEPOINT: one that is refused costs only itself.

    `refused(conn, n, error)` writes down what became of the n-th, before the next one runs. Keys that any of them
    needs are asked for together: NeedKeys undoes them all.
    """
    hot, done, wanted, hungry = Hot(conn), [], set[int](), False
    for number, work in enumerate(works):
        try:
            with savepoint(hot):
                done.append(work(conn))
        except NeedKeys as exc:
            wanted |= exc.owners
            hungry = True
        except (ChartbridgeError, MappingError) as exc:
            if not hungry:
                done.append(refused(conn, number, exc))
    if hungry:
        raise NeedKeys(wanted)
    return done


def _about(body: Json, name: str) -> str | None:
    told = body.get(name)
    return told.get("reference") if isinstance(told, dict) else None


class Commit:
    """One unit on its way into the store."""

    def __init__(self, conn: Connection, unit: Unit, keyring: Keyring, entropy: Entropy) -> None:
        self.conn, self.unit, self.keyring, self.entropy = conn, unit, keyring, entropy
        self.hot = Hot(conn)
        self.org = keyring.organisation()
        self.at = int(unit.at.timestamp() * 1000)
        self.stamp = unit.at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        self.said = _said(unit) or self.stamp
        self.names = Names(self.hot, keyring, self.at)
        self.renames: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.merges: list[tuple[Known, str, str]] = []
        self.reached: dict[str, list[Mapped]] = {}  # name → what it says, of each stored resource that it speaks of
        self.issues: list[StoreIssue] = []
        self.changes: list[Change] = []
        self.lines: dict[int, list[str]] = {}
        self.epochs: dict[int, int] = {}
        self.extra: list[tuple[int, EventParts, tuple[int, int] | None, int | None]] = []
        self.entered: dict[str, Json] = {}  # what this unit brings, by name
        self.named: set[str] = set()
        self.spellers: dict[int, Speller] = {}
        self.txn = 0
        self.planned = Planned(self.hot, self.names, self.org.org, self.at)
        self.belonging = Belonging(self.hot, self.names, self.entered, self._row)

    def run(self) -> Written:
        self._look_up()  # 1
        self._patients()  # 2
        self._load()  # 3
        reach(self)
        crash_point("commit.resolved")
        results = self._entries()  # 4
        crash_point("commit.sealed")
        self.flush()
        for retired, into, said in self.merges:  # 5
            effects.merge(self, retired, into, said)
        for effect in self.unit.effects:
            effects.apply(self, effect)
        self.flush()
        crash_point("commit.rows")
        events = self._events()  # 6
        subscriptions.note(self.conn, self.org.org, self.changes, self.at, self._notice_number)
        crash_point("commit.events")
        changes, issues = tuple(self.changes), tuple(self.issues)
        return Written(self.txn, results, changes, issues, events, dict(self.epochs))

    # --- 1 to 3 ------------------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        named = self.named
        bodies: list[Json] = []
        for entry in self.unit.entries:
            if isinstance(entry, Delete):
                named.add(f"{entry.type}/{entry.id}")
                continue
            body = entry.mapped.body if isinstance(entry, Convert) else entry.resource
            bodies.append(body)
            named.add(reference := f"{body['resourceType']}/{body['id']}")
            self.entered[reference] = body
            if isinstance(entry, Convert) and entry.mapped.into:
                named.add(f"{body['resourceType']}/{entry.mapped.into}")
        self.names.look_up(named | references(*bodies))

    def _patients(self) -> None:
        """Rename, recognise, then learn what every alias stands for."""
        for entry in self.unit.entries:
            if isinstance(entry, Convert):
                self._renumbered(entry.mapped)
        for entry in self.unit.entries:
            if isinstance(entry, Convert) and entry.mapped.body["resourceType"] == "Patient":
                self._recognise(entry.mapped.body)
        targets = list(self.names.aliases())
        need(self.keyring, (target.owner for _, target in targets))
        for reference, target in targets:
            self.names.read(target)
            if target.id is not None:
                self.renames[reference] = target.reference
                if not self.names.get(reference).ver:
                    self.links[reference] = target.reference

    def _renumbered(self, mapped: Mapped) -> None:
        """Names that this unit changes the meaning of."""
        kind, reference = mapped.body["resourceType"], _name(mapped.body)
        if mapped.was:
            effects.rename(self, reference, f"{kind}/{mapped.was}", mapped.at)
        elif mapped.into:
            effects.make_way(self, reference, f"{kind}/{mapped.into}", mapped.at)

    def _recognise(self, patient: Json) -> None:
        reference = f"Patient/{patient['id']}"
        known = self.names.get(reference)
        if known.ver or self.names.target(reference) is not known:
            return
        left = {effect.old for effect in self.unit.effects if isinstance(effect, Repoint)}
        found = self.names.recognise(patient, self.unit.match)
        holders = [one for one in found if one.rid != known.rid and one.reference not in left]
        if len(holders) > 1:
            self.issues.append(StoreIssue("identity-ambiguous", "Patient"))
        elif holders:
            self.names.stand_for(reference, holders[0])
            self.alias(known, holders[0], 0)
            if not known.new:
                owners.merge(self.hot, known.owner, holders[0].owner)

    def alias(self, known: Known, target: Known, said: int) -> None:
        sql = """
            INSERT INTO alias(fid, org, type, rid, said, txn) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT(fid) DO UPDATE SET rid = excluded.rid, said = excluded.said, txn = excluded.txn
        """
        self.hot.run(sql, (known.fid, self.org.org, known.type, target.rid, said, self.begin()))

    def _load(self) -> None:
        wanted = {SHARED}
        for reference in self.named:
            target = self.names.target(reference)
            if not target.new:
                wanted.add(target.owner)
        need(self.keyring, wanted)

    # --- 4 -----------------------------------------------------------------------------------------------------------

    def _entries(self) -> tuple[Change | None, ...]:
        """All entries; those that have the owner of what they point to come when it has been settled."""
        results: list[Change | None] = [None] * len(self.unit.entries)
        last = [number for number, entry in enumerate(self.unit.entries) if follows(entry)]
        first = [number for number in range(len(results)) if number not in last]
        for number in (*first, *last):
            try:
                results[number] = self._entry(self.unit.entries[number])
            except ChartbridgeError as error:
                error.entry = number
                raise
        return tuple(results)

    def _entry(self, entry: Convert | Replace | Delete) -> Change | None:
        match entry:
            case Convert(mapped=mapped):
                told = self.reached.get(_name(mapped.body), ()) if self.reached else ()
                changes = [self._convert(each) for each in told]
                return changes[0] if told else self._convert(mapped)
            case Replace(resource=body, if_match=expected, event=event):
                known = self.names.target(f"{body['resourceType']}/{body['id']}")
                _check_version(known, expected)
                return self.put(known, self._rewritten(body), event=event)
            case Delete(type=resource_type, id=logical_id, if_match=expected):
                known = self.names.target(f"{resource_type}/{logical_id}")
                _check_version(known, expected)
                return self.delete(known)

    def _convert(self, mapped: Mapped) -> Change | None:
        """One resource of a conversion, as its mode says."""
        if mapped.mode == "event":
            return None
        reference = f"{mapped.body['resourceType']}/{mapped.body['id']}"
        known = self.names.get(reference) if mapped.into else self.names.target(reference)
        if mapped.into:
            known = known if known.ver else self.names.target(reference)
            self.merges.append((known, f"{known.type}/{mapped.into}", mapped.at))
        if mapped.mode == "stub" and known.live:
            return None
        old = self.names.read(known) if known.live else None
        clock = open_clock(self.keyring, self.org.org, known) if known.live else Clock()
        if (body := with_parents(self, known, self._rewritten(mapped.body))) is not mapped.body:
            mapped = replace(mapped, body=body)
        settled = settle(old, mapped, clock.axes, moved=old is not None and self._others(known, old, mapped.body))
        self.issues += [StoreIssue(issue.code, known.type) for issue in settled.issues]
        if settled.body is None:
            return None
        return self.put(known, settled.body, Clock(settled.clock, self.unit.who, clock.scope))

    def _others(self, known: Known, old: Json, body: Json) -> bool:
        """Whether what is stored is of another patient: senders begin their numbers anew, and correct a wrong patient.
        What a message moves on purpose (A43 to A45) stays what it is."""
        if all(_about(old, name) in (None, _about(body, name)) for name in ABOUT):
            return False
        if any(isinstance(effect, Repoint) for effect in self.unit.effects):
            return False
        owner = self.belonging.owner_of(known, body)
        return owner != known.owner and owners.survivor(self.hot, known.owner) != owner

    def _rewritten(self, body: Json) -> Json:
        """The same under the names that things go by now; testimony keeps the names it was given, where they stand."""
        if self.reached:
            body = spread(body, self.reached)
        if self.renames:
            names = self.links if body["resourceType"] in effects.TESTIMONY else self.renames
            body = renamed(body, names, self.links)
        target = self.names.target(f"{body['resourceType']}/{body['id']}")
        if target.id is not None and target.id != body["id"] and not self.names.get(_name(body)).ver:
            return body | {"id": target.id}
        return body

    def put(self, known: Known, body: Json, clock: Clock | None = None, event: ExtraEvent | None = None) -> Change:
        """Make `body` the content of `known`, unless it is that already."""
        bare = unstamped(body) if "meta" in body else body
        old = self.names.read(known) if known.live else None
        if old is not None and known.type in effects.TESTIMONY and unstamped(old) == bare:
            return self._unchanged(known, clock)  # also where whom it is about were merged since
        owner = self.belonging.owner_of(known, body)
        keys = self.keyring.owner(owner)
        same = same_tag(keys.index, bare)
        if old is not None and owner == known.owner and same == known.same:
            return self._unchanged(known, clock)
        self._was(known, old)
        if known.live and owner != known.owner and owners.survivor(self.hot, known.owner) != owner:
            self.delete(known)  # changing a resource's patient is a delete and a create
        elif known.live and owner != known.owner and known.type == CONSENT:
            self.raise_epoch(known.owner)  # merged: what was decided under the retired owner is void, too
        ver, op = known.ver + 1, "u" if known.live else "c"
        stamped = bare | {"meta": {**bare.get("meta", {}), "versionId": str(ver), "lastUpdated": self.stamp}}
        canonical = _canonical(stamped, invariants=self.unit.invariants and not self.unit.proven)
        self._written(known, owner, ver, op, stamped, canonical, same)
        if clock is not None:
            known.clock = seal_clock(keys, known.fid, clock, self.entropy)
        return self._told(known, op, canonical, event)

    def _was(self, known: Known, old: Json | None) -> None:
        """What the index holds of it now, before this unit's first change to it."""
        if not self.planned.seen(known):
            self.planned.was(known, NO_POSTINGS if old is None else postings(old, self._speller(known.owner)))

    def _speller(self, owner: int) -> Speller:
        if (speller := self.spellers.get(owner)) is None:
            speller = self.spellers[owner] = Speller(owner, self.keyring.owner(owner).index, self.org.locate)
        return speller

    def _written(
        self, known: Known, owner: int, ver: int, op: str, stamped: Json, canonical: bytes, same: bytes
    ) -> None:
        keys = self.keyring.owner(owner)
        place = envelope.Row(self.org.org, known.type, known.fid, ver)
        sealed = envelope.seal(keys, place, canonical, self.entropy(envelope.NONCE_BYTES))
        known.owner, known.ver, known.deleted, known.same, known.body = owner, ver, False, same, stamped
        layers = _layers(invariants=self.unit.invariants)
        row = (known.rid, ver, self.org.org, owner, keys.gen, self.begin(), self.at, op, layers, same, sealed)
        self.planned.version(known, row, postings(stamped, self._speller(owner)))

    def _told(self, known: Known, op: str, canonical: bytes, event: ExtraEvent | None = None) -> Change:
        """Remember the line of content, and the event that a Consent has besides."""
        said = digest(canonical)
        logical_id = known.id or ""
        self.lines.setdefault(known.owner, []).append(content_line(op, known.type, logical_id, known.ver, said))
        if known.type == CONSENT:
            self.raise_epoch(known.owner)
        if event is not None:
            epoch = self.raise_epoch(known.owner)
            parts = event(canonical, known.ver, epoch, self.unit.at)
            self.extra.append((known.owner, parts, (known.rid, known.ver), epoch))
        change = _change(known, op, self.at, canonical if op != "d" else None, said)
        self.changes.append(change)
        return change

    def _unchanged(self, known: Known, clock: Clock | None) -> Change:
        """Nothing is written, except that a later statement has said the same."""
        if clock is not None:
            self.set_clock(known, clock)
        return _change(known, "", self.at)

    def set_clock(self, known: Known, clock: Clock) -> None:
        """Remember when, by whom and in which list this was last said."""
        if clock != open_clock(self.keyring, self.org.org, known):
            known.clock = seal_clock(self.keyring.owner(known.owner), known.fid, clock, self.entropy)
            self.planned.clock(known)

    def delete(self, known: Known) -> Change | None:
        """A delete marker, where something is to be deleted."""
        if not known.live:
            return None
        self._was(known, self.names.read(known))
        keys = self.keyring.owner(known.owner)
        known.ver, known.deleted, known.body, known.same, known.clock = known.ver + 1, True, None, None, None
        place = (known.rid, known.ver, self.org.org, known.owner, keys.gen, self.begin(), self.at, "d", _layers())
        self.planned.version(known, (*place, None, None), NO_POSTINGS)
        return self._told(known, "d", b"")

    def _row(self, known: Known) -> None:
        """See that what is referred to has a row."""
        if known.new:
            self.begin()
            self.planned.row(known)

    def raise_epoch(self, owner: int) -> int:
        """Once a unit: who may see this patient has changed."""
        if owner == SHARED:
            return 0
        if owner not in self.epochs:
            self.epochs[owner] = owners.raise_epoch(self.hot, owner)
        return self.epochs[owner]

    # --- 6 -----------------------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """The transaction's number, from the first thing that is written."""
        if not self.txn:
            self.txn = self.names.numbers.draw()
            unit = self.unit
            sql = "INSERT INTO txn(txn, org, at, kind, who, seq) VALUES (?, ?, ?, ?, ?, ?)"
            self.hot.run(sql, (self.txn, self.org.org, self.at, unit.kind, unit.who, unit.seq))
        return self.txn

    def flush(self) -> None:
        """Write what was planned."""
        if not self.planned.empty:
            self.planned.write(self.txn)

    def _events(self) -> tuple[bytes, ...]:
        """One event for each owner whose content changed, and those that were said besides."""
        unit = self.unit
        said = [
            (owner, EventParts(unit.kind, unit.clear, {**unit.secret, "content": lines}, unit.detail), None, None)
            for owner, lines in self.lines.items()
        ]
        rows = [self._event(*one) for one in (*said, *self.extra)]
        outbox.write(self.hot, rows)
        return tuple(row[2] for row in rows)

    def _notice_number(self) -> tuple[int, bytes]:
        """The row number and the event id of a notice."""
        return self.names.numbers.draw(), id_bytes(new_id(self.unit.at, self.entropy))

    def _event(
        self, owner: int, parts: EventParts, about: tuple[int, int] | None, epoch: int | None
    ) -> tuple[Any, ...]:
        event_id = id_bytes(new_id(self.unit.at, self.entropy))
        nonce = self.entropy(envelope.NONCE_BYTES)
        keys, number = self.keyring.owner(owner), self.names.numbers.draw()
        return outbox.row(number, event_id, keys, self.begin(), parts, nonce, about, epoch)


def _layers(*, invariants: bool = False) -> str:
    return f"{schema().version} {LAYERS} {INVARIANTS}" if invariants else f"{schema().version} {LAYERS}"


def _name(body: Json) -> str:
    return f"{body['resourceType']}/{body['id']}"


def _change(known: Known, op: str, at: int, body: bytes | None = None, said: Digest | None = None) -> Change:
    return Change(known.type, known.id or "", known.rid, known.ver, known.owner, op, at, body, said)


def _said(unit: Unit) -> str:
    """When what the unit brings happened; "" where it does not say."""
    return next((one.mapped.at for one in unit.entries if isinstance(one, Convert) and one.mapped.at), "")


def _check_version(known: Known, expected: int | None) -> None:
    if expected is not None and expected != (known.ver if known.live else 0):
        raise PreconditionFailed("another version stands than the one expected", code="version")


def _canonical(resource: Json, *, invariants: bool) -> bytes:
    """The bytes of what will be stored, validated here once. Constraints are asked of what fits the schema."""
    canonical, faults = written(resource)
    if not faults and invariants:
        faults = broken(resource)
    if faults:
        items = tuple(IssueItem(fault.code, fault.expression, fault.text, rule=key_of(fault)) for fault in faults)
        text = f"{resource['resourceType']} is not valid: {len(faults)} faults"
        raise Unprocessable(text, code="invalid-resource", items=items)
    return canonical
