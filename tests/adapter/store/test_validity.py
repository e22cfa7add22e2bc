"""What is written fits R4: its schema always, its constraints where the unit asks it (fhir chapter §3)."""

from datetime import UTC, datetime

import pytest

from adapter.errors import Unprocessable
from adapter.store.unit import Unit, Written
from adapter.store.writing import commit_unit
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import Site, observation, told

AT = datetime(2026, 3, 4, 9, 15, tzinfo=UTC)
ABSENT = {"text": "not done"}


async def commit(site: Site, resource: Json, *, invariants: bool) -> Written:
    unit = Unit("transform.hl7v2", "main", AT, (told(resource),), invariants=invariants)
    return await site.write(lambda conn: commit_unit(conn, unit, site.keyring))


def contradicting() -> Json:
    """A value, and the reason why there is none: obs-6."""
    return observation("o1") | {"valueString": "7", "dataAbsentReason": ABSENT}


async def test_what_breaks_a_constraint_is_refused_with_its_place_and_key(site: Site) -> None:
    with pytest.raises(Unprocessable) as caught:
        await commit(site, contradicting(), invariants=True)
    assert caught.value.code == "invalid-resource"
    assert [(item.issue, item.expression, item.rule) for item in caught.value.items] == [
        ("invariant", "Observation", "obs-6")
    ]
    assert await site.rows("SELECT count(*) FROM version") == [(0,)]


async def test_a_unit_may_be_held_to_the_schema_alone(site: Site) -> None:
    await commit(site, contradicting(), invariants=False)
    with pytest.raises(Unprocessable) as caught:
        await commit(site, observation("o2") | {"valueString": 7}, invariants=False)
    assert [(item.expression, item.rule) for item in caught.value.items] == [("Observation.value.ofType(string)", "")]


async def test_a_version_says_which_layers_ran(site: Site) -> None:
    await commit(site, observation("o1"), invariants=True)
    await commit(site, observation("o2"), invariants=False)
    assert await site.rows("SELECT schema FROM version ORDER BY rid, ver") == [
        ("4.0.1 bytes schema narrative invariants",),
        ("4.0.1 bytes schema narrative",),
    ]
