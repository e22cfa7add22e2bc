"""What the criteria of a conditional write match, in the transaction that writes: all of the organisation is seen.

The planner finds candidates by a key (an identifier, a canonical URL, an id) or within a patient; anything wider is
refused. The matcher is the only judge, as in a search. Whoever writes holds the lock (BEGIN IMMEDIATE on SQLite) from
before this until after the commit, so of equal criteria only one finds nothing. Nothing opened here leaves: callers
learn an id, which they need to write. Source: fhir chapter §8.
"""

from datetime import datetime, tzinfo

from sqlalchemy import Connection

from adapter.errors import PreconditionFailed
from adapter.seal.keyring import Keyring
from adapter.store import planner
from adapter.store.names import need
from adapter.store.planner import Asking
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json, decode
from mappings.fhir.search import Query, SearchError, matcher

ANCHORS = frozenset({"_id", "identifier", "url", "patient", "subject", "patient.identifier"})
ENOUGH = 2  # two matches are too many already

Match = tuple[Sealed, str]  # what stands, and its id


def search(conn: Connection, keyring: Keyring, query: Query, at: datetime, zone: tzinfo) -> list[Match]:
    """What matches. Raises NeedKeys; PreconditionFailed for criteria without a key."""
    asking = Asking(at, zone)
    try:
        chosen = planner.plan(conn, keyring, query, asking)
    except SearchError as exc:
        raise too_wide() from exc
    if chosen.anchor not in ANCHORS:
        raise too_wide()
    candidates = planner.candidates(conn, keyring, chosen, asking)
    need(keyring, {one.owner for one in candidates})
    matches = matcher(chosen.query, planner.resolver(conn, keyring), now=at, zone=zone)
    found: list[Match] = []
    for sealed in candidates:
        resource = opened(keyring, sealed)
        if matches(resource):
            found.append((sealed, resource["id"]))
        if len(found) == ENOUGH:
            break
    return found


def opened(keyring: Keyring, sealed: Sealed) -> Json:
    """The content of what stands, for a decision about a write. Raises NeedKeys."""
    return decode(sealed.open(keyring.owner(sealed.owner)))


def too_wide() -> PreconditionFailed:
    text = "criteria must name an identifier, a URL, an id or a patient"
    return PreconditionFailed(text, code="criteria", issue="not-supported")
