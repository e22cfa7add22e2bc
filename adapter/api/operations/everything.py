"""Patient/$everything: one patient's whole record. http://hl7.org/fhir/R4/patient-operation-everything.html

1. Read the parameters: `_type`, `_since`, `start`, `end`, `_count`; or a cursor, which holds them.
2. The rows of the record (`store/record.py`), of the types that the token may read, from where the last page ended. Her
   Patient is always among them: who may not see her gets 404, whatever else was asked for.
3. The gate opens and decides each, by its own type and owner; one event for each patient.
4. The page, put together from stored bytes: `match` is hers, `include` what belongs to nobody and is referred to.

Without `_count` a page holds up to 1,000. No more rows are opened than a page needs; where that leaves the total
unknown, it is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from adapter.access.disclose import PRIVATE, Arranged, Disclosed, Found, Matches, Released
from adapter.api import bundle
from adapter.api.call import Answer, Call, Pairs
from adapter.api.operations.arguments import Arguments, arguments
from adapter.api.operations.served import definition
from adapter.api.paging import End, Page, cut_of, links, page_of
from adapter.api.parameters import MAX_COUNT, instant, one, resource_id
from adapter.errors import BadRequest, Gone
from adapter.seal.keyring import SHARED
from adapter.store import record, resources
from adapter.store.record import HERS, Line
from mappings.fhir.care_dates import is_within
from mappings.fhir.schema import schema
from mappings.fhir.temporal import EARLIEST, LATEST, Interval, interval

PARAMETERS = frozenset({"start", "end", "_since", "_type", "_count"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of a record is wanted: which types (None: all), changed since when, and what its content must be."""

    types: frozenset[str] | None
    since: int
    matches: Matches | None


async def everything(call: Call) -> Answer:
    """`GET` or `POST /fhir/Patient/id/$everything`."""
    logical_id, services = resource_id(call), call.services
    page = await _page(call)  # 1
    reading = _Reading(call, logical_id, page, _wanted(call, page.query))
    released = await services.gate.disclose(  # 3
        call.ask("access.read", "everything", "Patient", "r", f"Patient/{logical_id}"),
        reading.find,
        arrange=reading.arrange,
    )
    if released.items and released.items[0].op == "d":
        raise Gone("this resource was deleted", code="deleted")
    end = reading.end(released) if released.more else None
    body = bundle.record(released, services.base, links(call, page, end), nobodys=SHARED)  # 4
    return Answer(200, body, released=released)


async def _page(call: Call) -> Page:
    """Which page: of a cursor, or the first one of what the parameters ask for."""
    if one(call.pairs, "_cursor") is None:
        given = await arguments(call, definition("Patient", "everything"), PARAMETERS)
        page = page_of(call, _pairs(given))
    else:
        page = page_of(call, call.pairs)
    return page if any(name == "_count" for name, _ in page.query) else replace(page, count=MAX_COUNT)


def _pairs(given: Arguments) -> Pairs:
    return tuple((name, str(value)) for name, values in given.values.items() for value in values)


def _wanted(call: Call, query: Pairs) -> _Wanted:
    named = {kind.strip() for name, value in query if name == "_type" for kind in value.split(",")}
    if not named <= schema().resource_types:
        raise BadRequest("_type names no resource type of R4", code="parameter", issue="value")
    since, start, end = one(query, "_since"), one(query, "start"), one(query, "end")
    zone = call.services.zone
    asked = Interval(interval(start, zone).start if start else EARLIEST, interval(end, zone).end if end else LATEST)
    matches = (lambda resource: is_within(resource, asked, zone)) if start or end else None
    return _Wanted(frozenset(named) or None, instant(since) if since else 0, matches)


class _Reading:
    """One page of one record: the gate's finder, and what it then shows of it."""

    def __init__(self, call: Call, logical_id: str, page: Page, wanted: _Wanted) -> None:
        self._org = call.services.keyring.organisation()
        self._actor, self._id, self._page, self._wanted = call.actor, logical_id, page, wanted
        self._patients: frozenset[int] = frozenset()
        self._listed: Mapping[int, int] = {}  # row → rank
        self._whole = True

    def find(self, conn: Connection) -> Found:
        """Step 2. Run again from the start where the gate has to."""
        patient = resources.current(conn, self._org, "Patient", self._id)
        if patient is None or patient.deleted:
            return Found(() if patient is None else (patient,))
        lines = record.lines(conn, self._org, patient)
        listed = self._needed(self._behind([line for line in lines if self._is_wanted(line)]))
        mine = [line for line in lines if line.rank == record.PATIENT]
        self._patients, self._listed = frozenset(one.rid for one in mine), {one.rid: one.rank for one in listed}
        chosen = [line for line in mine if line.rid not in self._listed] + listed
        cut = cut_of(conn, self._page, len(listed))
        return Found(record.sealed(conn, self._org, chosen, self._page.txn), self._wanted.matches, cut)

    def _is_wanted(self, line: Line) -> bool:
        """By what is known of a row unopened. A row that was deleted since page one is still on a later page."""
        if self._wanted.types is not None and line.type not in self._wanted.types:
            return False
        if line.deleted and (self._page.txn is None or line.txn <= self._page.txn):
            return False
        return line.updated >= self._wanted.since and self._actor.scopes.judge(line.type, "r").permitted

    def _behind(self, lines: list[Line]) -> list[Line]:
        """From where the last page ended."""
        if self._page.after is None:
            return lines
        place = (int(self._page.key[0]), self._page.after)
        return [line for line in lines if (line.rank, line.rid) > place]

    def _needed(self, lines: list[Line]) -> list[Line]:
        """No more than fill a page for certain, and one to know that another follows."""
        sure, self._whole = 0, True
        for place, line in enumerate(lines):
            sure += self._is_sure(line)
            if sure > self._page.count > 0 and place + 1 < len(lines):
                self._whole = False
                return lines[: place + 1]
        return lines

    def _is_sure(self, line: Line) -> bool:
        """Whether a row is shown whenever her Patient is: the gate can hide it only with all that is hers."""
        if line.rank > HERS or self._wanted.matches is not None:
            return False
        if line.deleted or (self._page.txn is not None and line.txn > self._page.txn):
            return False
        return line.type not in PRIVATE and not self._actor.scopes.judge(line.type, "r").queries

    def end(self, released: Released) -> End:
        last = released.items[-1].rid
        return End(last, (str(self._listed[last]),), released.txn)

    def arrange(self, shown: list[Disclosed]) -> Arranged:
        """Her page, in the order of the record. Without her Patient there is none."""
        if shown and shown[0].op == "d":
            return Arranged(shown)
        if not any(item.rid in self._patients for item in shown):
            return Arranged(())
        left = [item for item in shown if item.rid in self._listed]
        total = len(left) if self._whole and self._page.first else None
        return Arranged(left[: self._page.count], total, len(left) > self._page.count > 0)
