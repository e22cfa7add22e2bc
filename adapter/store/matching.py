"""Patients who may be the one that is described, found over the whole organisation by what tier T1 keeps.

An identifier, or a family name with the full birth date, each as one keyed token: a promise only, so the caller opens
and compares. A retired patient is given as the one she was merged into. Source: fhir chapter §5 (T1), §10 (`$match`).
"""

from collections.abc import Iterator

from sqlalchemy import Connection

from adapter.seal.blind import Mac, token
from adapter.seal.keyring import OrganisationKeys
from adapter.store import resources
from adapter.store.engine import Hot
from adapter.store.index import NAME_AND_BIRTH, names_and_births
from adapter.store.resources import Sealed
from adapter.store.tables import LOCATOR_OWNER
from mappings.fhir.codec import Json
from mappings.fhir.matching import identifiers


def candidates(conn: Connection, org: OrganisationKeys, asked: Json) -> list[Sealed]:
    """Patients to be opened and compared, each once."""
    hot, toks = Hot(conn), sorted(set(_tokens(org.locate, asked)))
    found = {
        row[0] for row in hot.each_in("SELECT rid FROM token WHERE owner = ? AND tok IN (…)", toks, (LOCATOR_OWNER,))
    }
    merged = "SELECT r.rid, a.rid FROM resource r JOIN alias a ON a.fid = r.fid WHERE r.rid IN (…)"
    survivors: dict[int, int] = {row[0]: row[1] for row in hot.each_in(merged, sorted(found))}
    rids = {survivors.get(rid, rid) for rid in found}
    return [one for one in resources.by_rids(conn, org, sorted(rids)) if one.type == "Patient" and not one.deleted]


def _tokens(locate: Mac, asked: Json) -> Iterator[int]:
    for system, value in identifiers(asked):
        yield token(locate, "Patient", "identifier", f"{system.casefold()}|{value.casefold()}")
    for text in names_and_births(asked):
        yield token(locate, "Patient", NAME_AND_BIRTH, text)
