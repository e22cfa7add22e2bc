"""The rows of one unit, planned in memory and written together.

A unit that is refused half-way has planned and not written; what is written goes in few statements. Of the index only
the difference is written, between what stood before the unit's first change to a resource and what stands after its
last.
"""

from typing import Any

from adapter.seal.keyring import SHARED
from adapter.store.engine import Hot, Row
from adapter.store.index import Postings
from adapter.store.names import Known, Names
from mappings.fhir.schema import schema

_VERSION = "INTO version(rid, ver, org, owner, gen, txn, at, op, schema, same, body)"
_RESOURCE = "INTO resource(rid, org, type, fid, owner, ver, txn, updated, deleted, clock)"
_CHANGED = """
    ON CONFLICT(rid) DO UPDATE SET owner = excluded.owner, ver = excluded.ver, txn = excluded.txn,
      updated = excluded.updated, deleted = excluded.deleted, clock = excluded.clock
"""


class Planned:
    """What is to be written, and the writing."""

    def __init__(self, hot: Hot, names: Names, org: str, at: int) -> None:
        self._hot, self._names, self._org, self._at = hot, names, org, at
        self._clear()

    def _clear(self) -> None:
        self._versions: list[Row] = []
        self._rows: dict[int, Known] = {}
        self._clocks: dict[int, bytes | None] = {}
        self._before: dict[int, Postings] = {}
        self._after: dict[int, Postings] = {}

    def version(self, known: Known, row: tuple[Any, ...], after: Postings) -> None:
        """One more version of `known`, and what the index holds of it from then on."""
        self._versions.append(row)
        self._rows[known.rid] = known
        self._after[known.rid] = after

    def seen(self, known: Known) -> bool:
        """Whether `was` has been told of it since the last writing."""
        return known.rid in self._before

    def was(self, known: Known, before: Postings) -> None:
        """What the index holds of it before this unit's first change to it."""
        self._before[known.rid] = before

    def row(self, known: Known) -> None:
        """See that what is referred to has a row."""
        self._rows.setdefault(known.rid, known)

    def clock(self, known: Known) -> None:
        """Only the clock of it has moved."""
        self._clocks[known.rid] = known.clock

    @property
    def empty(self) -> bool:
        return not (self._rows or self._clocks)

    def write(self, txn: int) -> None:
        """Rows first, then what hangs on them."""
        old, new = self._edges(self._before), self._edges(self._after)
        hot, org = self._hot, self._org
        hot.insert(_VERSION, self._versions)
        hot.insert(_RESOURCE, [self._resource(known, txn) for known in self._rows.values()], _CHANGED)
        for known in self._rows.values():
            known.new = False
        hot.many("UPDATE resource SET clock = ? WHERE rid = ?", [(clock, rid) for rid, clock in self._clocks.items()])
        gone, came = _tokens(self._before), _tokens(self._after)
        hot.many("DELETE FROM token WHERE owner = ? AND tok = ? AND rid = ?", gone - came)
        hot.insert("INTO token(owner, tok, rid, org)", [(*row, org) for row in sorted(came - gone)])
        hot.many("DELETE FROM edge WHERE src = ? AND param = ? AND dst = ?", old - new)
        hot.insert("INTO edge(src, param, dst, org)", [(*row, org) for row in sorted(new - old)])
        self._clear()

    def _resource(self, known: Known, txn: int) -> Row:
        values = (known.owner, known.ver, txn, self._at, known.deleted, known.clock)
        return (known.rid, self._org, known.type, known.fid, *values)

    def _edges(self, found: dict[int, Postings]) -> set[Row]:
        return {
            (rid, param, target)
            for rid, (_, edges) in found.items()
            for param, reference in edges
            if (target := self._target(reference, rid)) is not None
        }

    def _target(self, reference: str, source: int) -> int | None:
        """The row that a reference points to; what nobody has seen gets an empty one, under its referrer's owner."""
        target = self._names.target(reference)
        if target.new and target.rid not in self._rows:
            if target.type not in schema().resource_types:
                return None
            if target.type == "Patient":
                self._names.settle_patient(target)
            elif target.owner == SHARED:
                target.owner = self._names.by_rid(source).owner
            self.row(target)
        return target.rid


def _tokens(found: dict[int, Postings]) -> set[tuple[int, int, int]]:
    return {(owner, tok, rid) for rid, (tokens, _) in found.items() for owner, tok in tokens}
