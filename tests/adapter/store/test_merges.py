"""Merges, moves and renames as messages say them, all the way into the store: hl7v2 chapter §10, trap 10."""

import itertools
from functools import partial

import pytest
from sqlalchemy import Connection

from adapter.seal.keyring import Keyring
from adapter.store.engine import Hot
from adapter.store.names import Names
from adapter.store.unit import Convert, Unit, Written
from adapter.store.writing import commit_unit
from mappings.convert import Conversion, to_fhir
from mappings.fhir.codec import Json
from mappings.fhir.validate import validate
from tests.adapter.store.conftest import AT, Site
from tests.mappings.hl7v2.messages import MR, bodies, default, header, message, segment

VISITS, ACCOUNTS = "^^^HOSP&2.999.6&ISO", "^^^HOSP&2.999.15&ISO"


def adt(event: str, day: int, *segments: str) -> Conversion:
    at = f"202503{day:02}080000+0100"
    return to_fhir(message(header(f"ADT^{event}", at), f"EVN|{event}|{at}", *segments), default())


def pid(number: str, account: str = "", name: str = "Demo^Ana") -> str:
    return segment("PID", f3=f"{number}{MR}", f5=name, f18=f"{account}{ACCOUNTS}" if account else "")


def mrg(patient: str = "", account: str = "", visit: str = "") -> str:
    told = {"f1": f"{patient}{MR}" if patient else "", "f3": f"{account}{ACCOUNTS}" if account else ""}
    return segment("MRG", **told, f5=f"{visit}{VISITS}" if visit else "")


def pv1(number: str, kind: str = "I") -> str:
    return segment("PV1", f2=kind, f3="MED^1^1^HOSP", f19=f"{number}{VISITS}")


async def say(site: Site, conversion: Conversion) -> Written:
    for each in conversion.resources:
        assert validate(each.body) == ()
    entries = tuple(Convert(each) for each in conversion.resources if each.mode != "event")
    unit = Unit("transform.hl7v2", "main", AT, entries, conversion.effects)
    return await site.write(lambda conn: commit_unit(conn, unit, site.keyring))


async def stands(site: Site, kind: str) -> list[Json]:
    """All that is stored of a type, by its ids."""
    rows = await site.rows("SELECT rid FROM resource WHERE type = ? AND ver > 0 AND NOT deleted ORDER BY rid", kind)
    found = []
    for (rid,) in rows:
        found.append(await site.read(partial(_open, site.keyring, rid)))
    return found


def _open(keyring: Keyring, rid: int, conn: Connection) -> Json:
    names = Names(Hot(conn), keyring, 0)
    body = names.read(names.by_rid(rid))
    assert body is not None
    return body


async def by_number(site: Site, kind: str, number: str) -> Json:
    """The one resource that carries a number as current."""
    for body in await stands(site, kind):
        for each in body.get("identifier", ()):
            if each["value"] == number and each.get("use") != "old":
                return body
    raise AssertionError(f"no {kind} {number}")


def first(conversion: Conversion, kind: str) -> Json:
    return bodies(conversion, kind)[0]


async def whose(site: Site, kind: str) -> set[str]:
    key = "patient" if kind in ("Coverage", "AllergyIntolerance") else "subject"
    return {body[key]["reference"] for body in await stands(site, kind)}


MERGE = (pid("1"), mrg("2"))


async def test_a_merge_said_again_changes_nothing(site: Site) -> None:
    await say(site, adt("A01", 1, pid("1"), pv1("V1")))
    await say(site, adt("A01", 1, pid("2"), pv1("V2")))
    merge = adt("A40", 2, *MERGE)
    await say(site, merge)
    before = await site.rows("SELECT rid, ver, clock FROM resource ORDER BY rid")
    assert (await say(site, merge)).changes == ()
    assert await site.rows("SELECT rid, ver, clock FROM resource ORDER BY rid") == before


async def test_late_data_of_a_retired_number_follows_to_the_survivor(site: Site) -> None:
    """Also where MRG names a patient whom nobody knows yet."""
    merge = adt("A40", 2, *MERGE)
    await say(site, merge)
    await say(site, adt("A01", 3, pid("2"), pv1("V2"), "AL1|1||^Peanut"))
    survivor = f"Patient/{first(adt('A08', 1, pid('1')), 'Patient')['id']}"
    assert await whose(site, "Encounter") == {survivor}
    assert await whose(site, "AllergyIntolerance") == {survivor}


async def test_chains_of_merges_flatten(site: Site) -> None:
    for number in ("1", "2", "3"):
        await say(site, adt("A08", 1, pid(number)))
    await say(site, adt("A40", 2, pid("2"), mrg("3")))
    await say(site, adt("A40", 3, pid("1"), mrg("2")))
    assert await site.rows("SELECT count(DISTINCT rid), count(*) FROM alias") == [(1, 2)]
    await say(site, adt("A01", 4, pid("3"), pv1("V3")))
    assert await whose(site, "Encounter") == {f"Patient/{first(adt('A08', 1, pid('1')), 'Patient')['id']}"}


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1))))
async def test_of_two_opposite_merges_the_later_event_stands(site: Site, order: tuple[int, ...]) -> None:
    for number in ("1", "2"):
        await say(site, adt("A08", 1, pid(number)))
    merges = (adt("A40", 2, pid("1"), mrg("2")), adt("A40", 3, pid("2"), mrg("1")))
    for index in order:
        await say(site, merges[index])
    one, two = [first(adt("A08", 1, pid(number)), "Patient")["id"] for number in ("1", "2")]
    found = {body["id"]: body for body in await stands(site, "Patient")}
    assert (found[one]["active"], found[two]["active"]) == (False, True)
    assert [link["type"] for link in found[one]["link"]] == ["replaced-by"]
    assert [link["type"] for link in found[two]["link"]] == ["replaces"]
    await say(site, adt("A01", 4, pid("1"), pv1("V1")))
    assert await whose(site, "Encounter") == {f"Patient/{two}"}


async def test_several_pairs_of_one_message_are_merged_each(site: Site) -> None:
    await say(site, adt("A40", 2, pid("1"), mrg("2"), pid("3"), mrg("4")))
    assert await site.rows("SELECT count(DISTINCT rid), count(*) FROM alias") == [(2, 2)]


async def test_a_changed_number_leads_to_the_same_patient(site: Site) -> None:
    await say(site, adt("A01", 1, pid("2"), pv1("V1"), "AL1|1||^Peanut"))
    rename = adt("A47", 2, pid("1"), mrg("2"))
    await say(site, rename)
    (patient,) = await stands(site, "Patient")
    assert patient.get("active") is not False
    assert [(each["value"], each.get("use")) for each in patient["identifier"]] == [("2", "old"), ("1", None)]
    assert patient["identifier"][0]["period"]["end"].startswith("2025-03-02")
    assert (await say(site, rename)).changes == ()
    await say(site, adt("A08", 3, pid("1"), "AL1|1||^Latex"))
    assert await whose(site, "AllergyIntolerance") == {f"Patient/{patient['id']}"}


async def test_a_changed_visit_number_leads_to_the_same_stay(site: Site) -> None:
    await say(site, adt("A01", 1, pid("1"), pv1("V1")))
    await say(site, adt("A50", 2, pid("1"), mrg(visit="V1"), pv1("V2")))
    await say(site, adt("A03", 3, pid("1"), pv1("V2")))
    (stay,) = await stands(site, "Encounter")
    assert stay["status"] == "finished"
    assert {each["value"]: each.get("use") for each in stay["identifier"]} == {"V1": "old", "V2": None}


async def test_a_changed_account_number_leads_to_the_same_account(site: Site) -> None:
    await say(site, adt("A01", 1, pid("1", "A1"), pv1("V1")))
    await say(site, adt("A49", 2, pid("1", "A2"), mrg(account="A1")))
    (account,) = await stands(site, "Account")
    assert account["status"] == "active"
    assert {each["value"]: each.get("use") for each in account["identifier"]} == {"A1": "old", "A2": None}


@pytest.mark.parametrize("event", ["A06", "A07"])
async def test_a_change_of_class_may_bring_another_visit_number(site: Site, event: str) -> None:
    await say(site, adt("A04", 1, pid("1", "A1"), pv1("V1", "O")))
    await say(site, adt(event, 2, pid("1", "A2"), mrg(account="A1", visit="V1"), pv1("V2")))
    (stay,) = await stands(site, "Encounter")
    assert (stay["class"]["code"], stay["classHistory"][0]["class"]["code"]) == ("IMP", "AMB")
    assert len(await stands(site, "Account")) == 1


@pytest.mark.parametrize("event", ["A35", "A41"])
async def test_a_merged_account_is_inactive_and_its_visits_move(site: Site, event: str) -> None:
    await say(site, adt("A01", 1, pid("1", "A1"), pv1("V1")))
    await say(site, adt("A01", 1, pid("1", "A2"), pv1("V2")))
    merge = adt(event, 2, pid("1", "A1"), mrg(account="A2"))
    await say(site, merge)
    survivor, retired = [await by_number(site, "Account", number) for number in ("A1", "A2")]
    assert (survivor["status"], retired["status"]) == ("active", "inactive")
    assert retired["partOf"] == {"reference": f"Account/{survivor['id']}"}
    accounts = {stay["account"][0]["reference"] for stay in await stands(site, "Encounter")}
    assert accounts == {f"Account/{survivor['id']}"}
    assert (await say(site, merge)).changes == ()
    await say(site, adt("A08", 3, pid("1", "A2"), pv1("V2")))
    assert (await by_number(site, "Account", "A2"))["status"] == "inactive"


async def test_patients_are_merged_with_their_accounts(site: Site) -> None:
    await say(site, adt("A36", 2, pid("1", "A1"), mrg("2", "A2")))
    assert {body["active"] for body in await stands(site, "Patient")} == {True, False}
    assert {body["status"] for body in await stands(site, "Account")} == {"active", "inactive"}


async def test_a_merged_visit_is_entered_in_error_and_its_results_move(site: Site) -> None:
    for number in ("V1", "V2"):
        await say(site, adt("A01", 1, pid("1"), pv1(number), "DG1|1||J18.9^Pneumonia^I10||20250301"))
    merge = adt("A42", 2, pid("1"), mrg(visit="V2"), pv1("V1"))
    await say(site, merge)
    survivor, retired = [await by_number(site, "Encounter", number) for number in ("V1", "V2")]
    assert (survivor["status"], retired["status"]) == ("in-progress", "entered-in-error")
    stays = {each["encounter"]["reference"] for each in await stands(site, "Condition")}
    assert stays == {f"Encounter/{survivor['id']}"}
    assert (await say(site, merge)).changes == ()
    await say(site, adt("A03", 3, pid("1"), pv1("V2")))
    assert (await by_number(site, "Encounter", "V1"))["status"] == "finished"


async def test_a_moved_number_takes_what_was_recorded_under_it_along(site: Site) -> None:
    await say(site, adt("A01", 1, pid("2"), "AL1|1||^Peanut"))
    move = adt("A43", 2, pid("1"), mrg("2"))
    await say(site, move)
    to = first(adt("A08", 1, pid("1")), "Patient")["id"]
    assert await whose(site, "AllergyIntolerance") == {f"Patient/{to}"}
    assert [each["value"] for each in (await by_number(site, "Patient", "1"))["identifier"]] == ["1", "2"]
    assert (await say(site, move)).changes == ()


async def test_a_moved_account_takes_its_visits_along_and_no_others(site: Site) -> None:
    await say(site, adt("A01", 1, pid("2", "A1"), pv1("V1")))
    await say(site, adt("A01", 1, pid("2", "A2"), pv1("V2")))
    await say(site, adt("A44", 2, pid("1", "A1"), mrg("2", "A1")))
    one, two = [first(adt("A08", 1, pid(number)), "Patient")["id"] for number in ("1", "2")]
    moved, stayed = [await by_number(site, "Encounter", number) for number in ("V1", "V2")]
    assert moved["subject"] == {"reference": f"Patient/{one}"}
    assert stayed["subject"] == {"reference": f"Patient/{two}"}
    assert (await by_number(site, "Account", "A1"))["subject"] == [{"reference": f"Patient/{one}"}]


async def test_a_moved_visit_takes_its_diagnoses_along_and_no_others(site: Site) -> None:
    for number in ("V1", "V2"):
        await say(site, adt("A01", 1, pid("2"), pv1(number), f"DG1|1||J18.9^Pneumonia^I10||2025030{number[1]}"))
    await say(site, adt("A45", 2, pid("1", "A1"), mrg("2", "A9", "V1"), pv1("V1")))
    one, two = [first(adt("A08", 1, pid(number)), "Patient")["id"] for number in ("1", "2")]
    told = {each["onsetDateTime"][-1:]: each["subject"]["reference"] for each in await stands(site, "Condition")}
    assert told == {"1": f"Patient/{one}", "2": f"Patient/{two}"}
    assert (await by_number(site, "Encounter", "V1"))["account"][0]["reference"].startswith("Account/")


async def test_linked_records_point_to_each_other_and_stay_two(site: Site) -> None:
    for number in ("1", "2"):
        await say(site, adt("A01", 1, pid(number), pv1(f"V{number}")))
    await say(site, adt("A24", 2, pid("1"), pid("2")))
    assert [body["link"][0]["type"] for body in await stands(site, "Patient")] == ["seealso", "seealso"]
    assert await site.rows("SELECT count(*) FROM alias") == [(0,)]
    assert len(await whose(site, "Encounter")) == 2
    await say(site, adt("A37", 3, pid("1"), pid("2")))
    assert all("link" not in body for body in await stands(site, "Patient"))


async def test_a_cancelled_transfer_that_names_no_place_is_taken_back(site: Site) -> None:
    """A12 without PV1-3 and PV1-6: the store knows what the transfer changed."""
    await say(site, adt("A01", 1, pid("1"), pv1("V1")))
    await say(site, adt("A02", 2, pid("1"), segment("PV1", f2="I", f3="ICU^1^1^HOSP", f19=f"V1{VISITS}")))
    bare = segment("PV1", f2="I", f19=f"V1{VISITS}")
    for _ in range(2):
        await say(site, adt("A12", 3, pid("1"), bare))
        (stay,) = await stands(site, "Encounter")
        assert [(each["location"]["display"], each["status"]) for each in stay["location"]] == [("1", "active")]
    await say(site, adt("A02", 4, pid("1"), segment("PV1", f2="I", f3="ICU^1^2^HOSP", f19=f"V1{VISITS}")))
    await say(site, adt("A12", 3, pid("1"), bare))
    (stay,) = await stands(site, "Encounter")
    assert [each["location"]["display"] for each in stay["location"]] == ["1", "2"]
