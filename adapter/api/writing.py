"""Changes that clients ask for, as one unit of work: what they mean is decided under the lock that writes them.

A `Wish` is one create, update or delete; its resource fits R4 already (`check`). The work, in the writer's thread:

1. Criteria: each is searched (`criteria.py`). A create that meets a match writes nothing, an update takes its id.
2. What stands is held against `If-Match` and `If-None-Match`, and against granular scopes.
3. Two wishes for one resource refuse the whole, and so does one that the criteria of another would have found.
4. `commit_unit` writes all of them, or nothing; `Done` says what became of each, in the order of the wishes.

An error about one wish names it (`entry`). What the log is owed lies in the outbox, committed with the change; whoever
writes afterwards calls `Delivery.owed`. Source: fhir chapter §5, §7, §8, §9.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from adapter.access.disclose import Matches
from adapter.api.conditions import meets
from adapter.api.criteria import key, several
from adapter.errors import (
    BadRequest,
    ChartbridgeError,
    Conflict,
    Forbidden,
    IssueItem,
    NotFound,
    PreconditionFailed,
    Unprocessable,
)
from adapter.services import Services
from adapter.store import locks, planner, resources
from adapter.store.criteria import opened, search
from adapter.store.engine import Hot
from adapter.store.index import identities
from adapter.store.resources import Sealed
from adapter.store.unit import Change, Delete, Entry, Replace, Unit
from adapter.store.writing import commit_unit
from mappings.fhir.codec import Json
from mappings.fhir.invariants import broken, key_of
from mappings.fhir.relink import relinked
from mappings.fhir.search import Query, matcher
from mappings.fhir.validate import validate

Op = Literal["create", "update", "delete"]
Became = Literal["created", "updated", "unchanged", "matched", "deleted"]
KIND = "resource.written"
MOST_COMPARED = 64  # of those that share a name with what criteria ask for


@dataclass(frozen=True, slots=True)
class Wish:
    """One change. `id` is the client's where it `named` one, else one of ours, which a match of the criteria replaces.

    `if_match` are the tags of versions that may stand, `if_none_match` those that may not; `within` judges what stands
    by the writer's granular scopes.
    """

    op: Op
    type: str
    id: str = field(repr=False)
    resource: Json | None = field(default=None, repr=False)
    criteria: Query | None = field(default=None, repr=False)
    named: bool = True
    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None
    may_create: bool = True
    within: Matches | None = None

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a wish: the version that stands now, and when it was written."""

    type: str
    id: str = field(repr=False)
    version: int
    at: int
    became: Became


def check(resource: Json) -> None:
    """Schema, narrative and constraints, all faults at once. Raises Unprocessable."""
    if faults := validate(resource) or broken(resource):
        items = tuple(IssueItem(one.code, one.expression, one.text, one.severity, key_of(one)) for one in faults)
        text = f"the resource does not fit FHIR R4: {len(faults)} faults"
        raise Unprocessable(text, code="invalid-resource", items=items)


def new_id(services: Services) -> str:
    """A random id for a resource of a client's."""
    return str(uuid.UUID(bytes=services.entropy(16), version=4))


async def write(services: Services, client_id: str, at: datetime, wishes: Sequence[Wish]) -> tuple[Done, ...]:
    """Write all of them durably, or raise."""
    work = _Writing(services, client_id, at, wishes).work
    done = await services.keyring.retrying(services.store.write, work)
    services.delivery.owed()
    return done


class _Writing:
    def __init__(self, services: Services, client_id: str, at: datetime, wishes: Sequence[Wish]) -> None:
        self._services, self._client_id, self._at, self._wishes = services, client_id, at, wishes
        self._keyring, self._org = services.keyring, services.keyring.organisation()

    def work(self, conn: Connection) -> tuple[Done, ...]:
        """Steps 1 to 4. Run again after NeedKeys."""
        self._lock(conn)
        names: dict[str, str] = {}
        wishes, stands = [], []
        for number, wish in enumerate(self._wishes):  # 1
            with about(number):
                settled, standing = self._settled(conn, wish, names)
            wishes.append(settled)
            stands.append(standing)
        for number, (wish, standing) in enumerate(zip(wishes, stands, strict=True)):  # 2
            with about(number):
                self._allowed(wish, standing)
        _check_identities([wish for wish, standing in zip(wishes, stands, strict=True) if not _met(wish, standing)])
        self._check_criteria(conn, wishes, stands)  # 3
        return self._commit(conn, wishes, stands, names)  # 4

    def _lock(self, conn: Connection) -> None:
        """Before the first look: what is written under another id than the client's is locked by its criteria."""
        criteria = [wish.criteria for wish in self._wishes if wish.criteria is not None]
        entries = [
            Delete(wish.type, wish.id) if wish.resource is None else Replace(wish.resource) for wish in self._wishes
        ]
        locks.take(Hot(conn), self._org, entries, criteria)

    def _find(self, conn: Connection, query: Query) -> list[tuple[Sealed, str]]:
        return search(conn, self._keyring, query, self._at, self._services.zone)

    def _settled(self, conn: Connection, wish: Wish, names: dict[str, str]) -> tuple[Wish, Sealed | None]:
        """The wish under the id it is about, and what stands there."""
        if wish.criteria is None:
            if wish.op == "create":
                return wish, None
            return wish, resources.current(conn, self._org, wish.type, wish.id)
        found = self._find(conn, wish.criteria)
        if len(found) > 1:
            raise several()
        if not found:
            return self._unmatched(conn, wish)
        standing, logical_id = found[0]
        if wish.named and wish.op == "update" and wish.id != logical_id:
            text = "the id in the body is another than that of the match"
            raise BadRequest(text, issue="invalid", expression=f"{wish.type}.id")
        if wish.id != logical_id:
            names[wish.reference] = f"{wish.type}/{logical_id}"
        body = None if wish.resource is None else wish.resource | {"id": logical_id}
        return replace(wish, id=logical_id, resource=body), standing

    def _unmatched(self, conn: Connection, wish: Wish) -> tuple[Wish, None]:
        if wish.op == "update" and wish.named and resources.current(conn, self._org, wish.type, wish.id) is not None:
            raise Conflict("the criteria match nothing, and the id in the body is taken", code="id-taken")
        return wish, None

    def _allowed(self, wish: Wish, standing: Sealed | None) -> None:
        """Step 2."""
        live = None if standing is None or standing.deleted else standing
        if _met(wish, standing):
            return
        if wish.if_match is not None and not meets(wish.if_match, live.ver if live else None):
            raise PreconditionFailed("another version stands than the one expected", code="version")
        if wish.if_none_match is not None and meets(wish.if_none_match, live.ver if live else None):
            raise PreconditionFailed("a version stands that is not to stand", code="version")
        if wish.op == "update" and live is None and not wish.may_create:
            raise NotFound("there is no such resource here")
        if wish.op == "delete" and standing is None:
            raise NotFound("there is no such resource here")
        if live is not None and wish.within is not None:
            if not wish.within(opened(self._keyring, live)):
                raise Forbidden("no scope of this token covers the interaction", code="scope")

    def _check_criteria(self, conn: Connection, wishes: Sequence[Wish], stands: Sequence[Sealed | None]) -> None:
        """Criteria that found nothing hold for what comes with them, too: one commit makes no second of its kind. The
        names of what is asked for and of what is written are compared first, as the locks have them."""
        asking = [n for n, wish in enumerate(wishes) if wish.criteria is not None and stands[n] is None]
        if not asking or len(wishes) == 1:
            return
        by_name: dict[str, list[int]] = {}
        for number, wish in enumerate(wishes):
            for name in () if wish.resource is None else identities(wish.resource):
                by_name.setdefault(name, []).append(number)
        for number in asking:
            query = wishes[number].criteria
            if query is None:
                continue
            others = {one for name in locks.asked(query) for one in by_name.get(name, ())[:MOST_COMPARED]} - {number}
            matches = matcher(query, planner.resolver(conn, self._keyring), now=self._at, zone=self._services.zone)
            for other in sorted(others):
                body = wishes[other].resource
                if body is not None and body["resourceType"] == query.type and matches(body):
                    with about(max(number, other)):
                        raise duplicate()

    def _commit(
        self, conn: Connection, wishes: Sequence[Wish], stands: Sequence[Sealed | None], names: Mapping[str, str]
    ) -> tuple[Done, ...]:
        entries: list[Entry] = []
        of: list[int] = []  # the wish of each entry
        for number, (wish, standing) in enumerate(zip(wishes, stands, strict=True)):
            if wish.op == "delete":
                entries.append(Delete(wish.type, wish.id))
            elif _met(wish, standing):
                continue
            else:
                body = wish.resource or {}
                entries.append(Replace(relinked(body, names) if names else body))
            of.append(number)
        changes = self._written(conn, entries, of)
        pairs = zip(wishes, stands, strict=True)
        return tuple(_done(wish, standing, changes.get(n)) for n, (wish, standing) in enumerate(pairs))

    def _written(self, conn: Connection, entries: Sequence[Entry], of: Sequence[int]) -> dict[int, Change | None]:
        if not entries:
            return {}
        secret = {"actor": self._client_id}
        unit = Unit(KIND, self._client_id, self._at, tuple(entries), secret=secret, proven=True)
        try:
            written = commit_unit(conn, unit, self._keyring, locked=True)
        except ChartbridgeError as error:
            error.entry = None if error.entry is None else of[error.entry]
            raise
        return dict(zip(of, written.results, strict=True))


def _met(wish: Wish, standing: Sealed | None) -> bool:
    """Whether a conditional create found what it would have made, and writes nothing."""
    return wish.op == "create" and standing is not None


def _done(wish: Wish, standing: Sealed | None, change: Change | None) -> Done:
    if change is None:  # matched, or deleted before
        if standing is None:
            raise RuntimeError("a wish was neither written nor met by what stands")
        return Done(wish.type, wish.id, standing.ver, standing.at, "deleted" if wish.op == "delete" else "matched")
    logical_id = change.id or wish.id
    if not change.op and standing is not None:
        return Done(wish.type, logical_id, standing.ver, standing.at, "unchanged")
    if change.op == "d":
        return Done(wish.type, logical_id, change.ver, change.at, "deleted")
    new = standing is None or standing.deleted
    return Done(wish.type, logical_id, change.ver, change.at, "created" if new else "updated")


def _check_identities(wishes: Sequence[Wish]) -> None:
    """Two that write one identity, or carry the same criteria, refuse the whole (fhir chapter §9)."""
    seen: set[object] = set()
    for number, wish in enumerate(wishes):
        for name in (wish.reference, *((key(wish.criteria),) if wish.criteria is not None else ())):
            if name in seen:
                with about(number):
                    raise duplicate()
            seen.add(name)


def duplicate() -> BadRequest:
    return BadRequest("two entries write the same resource", code="duplicate", issue="duplicate")


@contextmanager
def about(number: int) -> Iterator[None]:
    """What is raised inside is about this wish."""
    try:
        yield
    except ChartbridgeError as error:
        error.entry = number
        raise
