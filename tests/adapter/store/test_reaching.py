"""What a message names by its number only, carried out on what is stored (hl7v2 chapter §6, §8, §9).

Whole messages into a store: an order is cancelled by its ORC alone, an administration corrected with another time.
"""

import pytest

from adapter.seal import envelope
from adapter.store.unit import Convert, Unit
from adapter.store.writing import commit_unit
from adapter.wire import answer, effects, resources
from mappings.convert import Conversion
from mappings.fhir.codec import Json, decode
from tests.adapter.store.conftest import AT, Site
from tests.mappings.hl7v2.messages import MR, convert, header

P1, F1, F2 = "P1^HOSP^2.999.1.20^ISO", "F1^LAB^2.999.3.1^ISO", "F2^LAB^2.999.3.1^ISO"
GLUCOSE, SODIUM = "2345-7^Glucose^LN", "2951-2^Sodium^LN"
IBUPROFEN, ASPIRIN = "5640^Ibuprofen^RXNORM", "1191^Aspirin^RXNORM"
CVX = "140^Influenza^CVX"


async def say(site: Site, event: str, *segments: str, at: str = "0900", of: str = "4711") -> set[str]:
    """One message of 2025-03-04 through the pipe and into the store; the codes of what the store noticed."""
    told = convert(header(event, f"20250304{at}00+0100"), f"PID|1||{of}{MR}", *segments)
    return await store(site, told)


async def store(site: Site, told: Conversion) -> set[str]:
    sent = answer(told)
    entries = tuple(Convert(each) for each in resources(sent))
    unit = Unit("transform.hl7v2", "main", AT, entries, effects(sent))
    return {each.code for each in (await site.write(lambda conn: commit_unit(conn, unit, site.keyring))).issues}


async def stored(site: Site, kind: str) -> list[Json]:
    """What stands of a type."""
    rows = await site.rows("SELECT fid, rid FROM resource WHERE type = ? AND ver > 0 AND NOT deleted", kind)
    found = []
    for fid, rid in rows:
        sql = "SELECT v.owner, v.ver, v.body FROM version v WHERE v.rid = ? ORDER BY v.ver DESC LIMIT 1"
        ((owner, ver, body),) = await site.rows(sql, rid)
        found.append(await _opened(site, kind, fid, owner, ver, body))
    return found


async def _opened(site: Site, kind: str, fid: bytes, owner: int, ver: int, body: bytes) -> Json:
    await site.keyring.load((owner,))
    place = envelope.Row(site.keyring.organisation().org, kind, fid, ver)
    return decode(envelope.unseal(site.keyring.owner(owner), place, body))


async def statuses(site: Site, kind: str = "ServiceRequest") -> dict[str, str]:
    """Status by code of the service or drug, "" for an order that only its number names."""
    found = {}
    for body in await stored(site, kind):
        concept = body.get("code") or body.get("medicationCodeableConcept") or {}
        found[concept.get("coding", [{"code": ""}])[0]["code"]] = body["status"]
    return found


# orders by their number -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("control", "status"), [("OC", "revoked"), ("OH", "on-hold"), ("OR", "active")])
async def test_an_order_is_cancelled_held_and_released_by_its_number_alone(
    site: Site, control: str, status: str
) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}", f"OBR|2|{P1}||{SODIUM}")
    assert await say(site, "ORM^O01", f"ORC|OH|{P1}", at="0930") == set()
    assert await say(site, "ORM^O01", f"ORC|{control}|{P1}", at="1000") == set()
    assert await statuses(site) == {"2345-7": status, "2951-2": status}


async def test_what_the_placer_asks_only_leaves_the_status_of_the_order(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}")
    await say(site, "ORM^O01", f"ORC|CA|{P1}", at="1000")
    (body,) = await stored(site, "ServiceRequest")
    assert body["status"] == "active"
    (event,) = [each for each in body["extension"] if each["url"].endswith("businessEvent")]
    assert event["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "CA"


async def test_the_fillers_number_tells_apart_what_the_placers_does_not(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}|{F1}", f"OBR|1|{P1}|{F1}|{GLUCOSE}")
    await say(site, "ORM^O01", f"ORC|NW|{P1}|{F2}", f"OBR|1|{P1}|{F2}|{SODIUM}")
    await say(site, "ORM^O01", f"ORC|OC|{P1}|{F2}", at="1000")
    assert await statuses(site) == {"2345-7": "active", "2951-2": "revoked"}
    await say(site, "ORM^O01", f"ORC|OC||{F1}", at="1100")
    assert await statuses(site) == {"2345-7": "revoked", "2951-2": "revoked"}


async def test_a_cancellation_that_comes_after_a_newer_statement_changes_nothing(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}", at="1000")
    assert await say(site, "ORM^O01", f"ORC|OC|{P1}", at="0900") == {"late-event"}
    assert await statuses(site) == {"2345-7": "active"}


async def test_an_order_of_another_patient_under_the_same_number_is_not_reached(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}")
    assert await say(site, "ORM^O01", f"ORC|OC|{P1}", at="1000", of="4712") == {"order-unknown"}
    assert await statuses(site) == {"2345-7": "active", "": "revoked"}


async def test_an_order_is_reached_under_the_number_that_its_patient_has_now(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}", of="4712")
    await say(site, "ADT^A40^ADT_A39", f"MRG|4712{MR}", at="0930")
    assert "order-unknown" not in await say(site, "ORM^O01", f"ORC|OC|{P1}", at="1000")
    assert await statuses(site) == {"2345-7": "revoked"}


async def test_an_order_that_nobody_knows_stands_alone_and_is_named(site: Site) -> None:
    assert await say(site, "ORM^O01", f"ORC|OC|{P1}") == {"order-unknown"}
    assert await statuses(site) == {"": "revoked"}


async def test_who_cancelled_is_said_of_every_order_that_was_reached(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}", f"OBR|2|{P1}||{SODIUM}")
    await say(site, "ORM^O01", f"ORC|OC|{P1}||||||||1001^Kaya^Leyla", at="1000")
    orders = {f"ServiceRequest/{body['id']}" for body in await stored(site, "ServiceRequest")}
    assert len(orders) == 2
    named = [{each["reference"] for each in body["target"]} for body in await stored(site, "Provenance")]
    assert sum(orders <= each for each in named) == 3  # the two messages', and that of the ORC
    assert {each for one in named for each in one if each.startswith("ServiceRequest/")} == orders


async def test_a_drug_order_is_cancelled_where_the_message_says_no_drug(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"RXO|{IBUPROFEN}|400||mg")
    await say(site, "ORM^O01", f"ORC|OD|{P1}", at="1000")
    assert await statuses(site, "MedicationRequest") == {"5640": "stopped"}
    assert await statuses(site) == {}


async def test_a_drug_order_is_cancelled_by_the_number_of_its_pharmacy(site: Site) -> None:
    await say(site, "RDE^O11", f"ORC|NW|{P1}|{F1}", f"RXE|^BID|{IBUPROFEN}|400||mg")
    assert await say(site, "RDE^O11", f"ORC|OC||{F1}", at="1000") == set()
    assert await statuses(site, "MedicationRequest") == {"5640": "cancelled"}


async def test_said_again_a_cancellation_writes_nothing(site: Site) -> None:
    await say(site, "ORM^O01", f"ORC|NW|{P1}", f"OBR|1|{P1}||{GLUCOSE}")
    for _ in range(2):
        await say(site, "ORM^O01", f"ORC|OC|{P1}", at="1000")
        versions = await site.rows("SELECT rid, ver FROM resource ORDER BY rid")
    await say(site, "ORM^O01", f"ORC|OC|{P1}", at="1000")
    assert await site.rows("SELECT rid, ver FROM resource ORDER BY rid") == versions


# corrected administrations --------------------------------------------------------------------------------------------


def given(hour: str, action: str = "A", drug: str = IBUPROFEN) -> tuple[str, str]:
    return f"ORC|OK|{P1}|{F1}", f"RXA|0|1|20250304{hour}00+0100||{drug}|400|mg|||||||||||||CP|{action}"


async def hours(site: Site) -> dict[str, str]:
    bodies = await stored(site, "MedicationAdministration")
    return {body["effectiveDateTime"][11:16]: body["status"] for body in bodies}


async def test_a_corrected_time_is_the_same_administration(site: Site) -> None:
    await say(site, "RAS^O17", *given("0800"))
    assert await say(site, "RAS^O17", *given("0815", "U"), at="1000") == set()
    assert await hours(site) == {"08:15": "completed"}
    await say(site, "RAS^O17", *given("0815", "D"), at="1100")  # from now on it is known by either time
    assert await hours(site) == {"08:15": "entered-in-error"}


async def test_a_deletion_with_another_time_takes_the_one_back_that_was_given(site: Site) -> None:
    await say(site, "RAS^O17", *given("0800"))
    await say(site, "RAS^O17", *given("0815", "D"), at="1000")
    assert await hours(site) == {"08:15": "entered-in-error"}


async def test_which_of_two_doses_is_corrected_is_not_guessed(site: Site) -> None:
    await say(site, "RAS^O17", *given("0800"))
    await say(site, "RAS^O17", *given("1200"))
    assert await say(site, "RAS^O17", *given("0815", "U"), at="1300") == {"correction-unmatched"}
    assert set(await hours(site)) == {"08:00", "12:00", "08:15"}


async def test_another_drug_of_the_order_is_not_the_one_corrected(site: Site) -> None:
    await say(site, "RAS^O17", *given("0800", drug=ASPIRIN))
    assert await say(site, "RAS^O17", *given("0815", "U"), at="1000") == {"correction-unmatched"}
    assert set(await hours(site)) == {"08:00", "08:15"}


async def test_two_corrections_of_one_message_are_not_of_one_dose(site: Site) -> None:
    await say(site, "RAS^O17", *given("0800"))
    noticed = await say(site, "RAS^O17", *given("0815", "U"), *given("0830", "U"), at="1000")
    assert noticed == {"correction-unmatched"}
    assert len(await hours(site)) == 2


async def test_a_vaccination_without_a_number_that_is_corrected_is_named(site: Site) -> None:
    for action, hour, noticed in (("A", "08", set()), ("U", "09", {"correction-unmatched"})):
        rxa = f"RXA|0|1|20250304{hour}0000+0100||{CVX}|0.5|mL|||||||||||||CP|{action}"
        assert await say(site, "VXU^V04", "ORC|RE||9999^SYS", rxa, at=f"{hour}30") == noticed


# one number, two drugs ------------------------------------------------------------------------------------------------


async def test_another_drug_under_a_number_does_not_replace_the_first_in_silence(site: Site) -> None:
    await say(site, "RDE^O11", f"ORC|NW|{P1}", f"RXE|^BID|{IBUPROFEN}|400||mg")
    assert await say(site, "RDE^O11", f"ORC|XO|{P1}", f"RXE|^BID|{IBUPROFEN}|600||mg", at="1000") == set()
    assert await say(site, "RDE^O11", f"ORC|XO|{P1}", f"RXE|^BID|{ASPIRIN}|100||mg", at="1100") == {"other-drug"}
    await say(site, "RDS^O13", f"ORC|RE|{P1}|{F1}", f"RXD|1|{IBUPROFEN}|202503040900+0100|20||")
    noticed = await say(site, "RDS^O13", f"ORC|RE|{P1}|{F1}", f"RXD|1|{ASPIRIN}|202503041000+0100|20||", at="1000")
    assert noticed == {"other-drug"}
