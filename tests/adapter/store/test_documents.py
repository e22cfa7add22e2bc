"""Appointments and documents as messages tell them, stored: whose they are, what a later message makes of them.

Source: design chapter HL7 v2 §8, §9, §10; FHIR chapter §5 (owners), R4 Binary.securityContext.
"""

import base64

from adapter.store.unit import Convert
from mappings.convert import Conversion, load_profile, to_fhir
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import Site

PID = "PID|1||4711^^^HOSP&2.999.1.4&ISO^MR||Demo^Ana||19800101|F"


def said(type_: str, at: str, *segments: str) -> Conversion:
    head = f"MSH|^~\\&|SYS|HOSP|CB|HOSP|{at}||{type_}|ID1|P|2.6"
    return to_fhir("\r".join([head, *segments]).encode(), load_profile("default"), events=False)


async def store(site: Site, conversion: Conversion) -> None:
    entries = tuple(Convert(each) for each in conversion.resources if each.mode != "event")
    await site.commit(*entries, effects=conversion.effects)


def named(conversion: Conversion, kind: str, at: int = 0) -> str:
    return str([each.body["id"] for each in conversion.resources if each.body["resourceType"] == kind][at])


async def owner(site: Site, kind: str, name: str) -> int:
    found = await site.sealed(kind, name)
    assert found is not None
    return int(found.owner)


async def test_a_binary_is_sealed_under_the_patient_of_its_document(site: Site) -> None:
    data = base64.b64encode(b"%PDF" * 20_000).decode()
    told = said(
        "MDM^T02", "20250304080000+0100", PID, "TXA|1|DS||||||||||D-1", f"OBX|1|ED|L||S^Application^PDF^Base64^{data}"
    )
    await store(site, told)
    patient = await owner(site, "Patient", named(told, "Patient"))
    assert patient != 0
    assert await owner(site, "Binary", named(told, "Binary")) == patient
    assert await owner(site, "DocumentReference", named(told, "DocumentReference")) == patient


async def test_a_replacement_supersedes_what_is_stored(site: Site) -> None:
    first = said("MDM^T02", "20250304080000+0100", PID, "TXA|1|DS||||||||||D-1", "OBX|1|TX|L||First letter.")
    second = said("MDM^T10", "20250305080000+0100", PID, "TXA|1|DS||||||||||D-2|D-1", "OBX|1|TX|L||Second letter.")
    await store(site, first)
    await store(site, second)
    old: Json = await site.body("DocumentReference", named(first, "DocumentReference"))
    assert old["status"] == "superseded"
    assert base64.b64decode(old["content"][0]["attachment"]["data"]) == b"First letter."


async def test_an_appointment_is_its_patients_and_follows_its_messages(site: Site) -> None:
    booked = said(
        "SIU^S12", "20250304080000+0100", "SCH||F-1|||||||||^^^20250320100000+0100^20250320104500+0100", PID,
        "AIP|1||77^Kaya^Leyla",
    )  # fmt: skip
    cancelled = said("SIU^S15", "20250305080000+0100", "SCH||F-1||||ILL^Ill^99HOSP", PID)
    await store(site, booked)
    await store(site, cancelled)
    name = named(booked, "Appointment")
    body = await site.body("Appointment", name)
    assert (body["status"], body["start"]) == ("cancelled", "2025-03-20T10:00:00+01:00")
    assert len(body["participant"]) == 2
    assert await owner(site, "Appointment", name) == await owner(site, "Patient", named(booked, "Patient"))


async def test_opening_time_frees_the_slot_that_was_blocked(site: Site) -> None:
    lines = ("SCH||B-1|||||||||^^^20250320100000+0100^20250320120000+0100", "AIL|1||MED^4^^HOSP")
    await store(site, blocked := said("SIU^S23", "20250304080000+0100", *lines))
    assert (await site.body("Slot", named(blocked, "Slot")))["status"] == "busy-unavailable"
    await store(site, said("SIU^S24", "20250305080000+0100", *lines))
    assert (await site.body("Slot", named(blocked, "Slot")))["status"] == "free"
    assert await owner(site, "Slot", named(blocked, "Slot")) == 0
