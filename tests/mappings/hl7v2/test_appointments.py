"""Appointments and slots: status, times, who takes part, orders, what is taken off.

Source: design chapter HL7 v2 §9 (Appointment), §4, §6, §10; HL7 v2.9 chapter 10; FHIR R4 Appointment, app-1 to app-4.
"""

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from mappings.merge import settle
from tests.mappings.hl7v2.messages import MR, Json, bodies, convert, header, mapped, one, segment

START, END = "20250320100000+0100", "20250320104500+0100"
TIMES = f"^^^{START}^{END}"
NUMBER = "F-1^SCHED^2.999.7.2^ISO"
PID = f"PID|1||4711{MR}"
LEYLA, TOM = "77^Kaya^Leyla^^^^^^HOSP&2.999.1.5&ISO", "78^Berg^Tom^^^^^^HOSP&2.999.1.5&ISO"


def siu(*segments: str, event: str = "S12", at: str = "20250304081500+0100", **sch: str) -> Conversion:
    """An appointment of one patient; `f25` and the like are fields of SCH."""
    fields = {"f2": NUMBER, "f11": TIMES} | sch
    return convert(header(f"SIU^{event}", at), segment("SCH", **fields), PID, *segments)


def appointment(*segments: str, event: str = "S12", **sch: str) -> Json:
    conversion = siu(*segments, event=event, **sch)
    assert all(validate(each.body) == () for each in conversion.resources)
    return one(conversion, "Appointment")


def actors(body: Json) -> list[str]:
    return [each["actor"].get("display", each["actor"].get("reference", "")) for each in body["participant"]]


# status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("Pending", "pending"), ("Waitlist", "waitlist"), ("Booked", "booked"), ("Overbook", "booked"),
        ("Started", "checked-in"), ("Complete", "fulfilled"), ("Cancelled", "cancelled"), ("Dc", "cancelled"),
        ("DC", "cancelled"), ("Deleted", "entered-in-error"), ("Noshow", "noshow"), ("NOSHOW", "noshow"),
        ("BOOKED", "booked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("event", ["S12", "S14", "S19"])
def test_sch25_decides_the_status_of_what_goes_on(code: str, status: str, event: str) -> None:
    assert appointment(event=event, f25=f"{code}^^HL70278")["status"] == status


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("S12", "booked"), ("S13", "booked"), ("S14", "booked"), ("S15", "cancelled"), ("S16", "cancelled"),
        ("S17", "entered-in-error"), ("S18", "booked"), ("S19", "booked"), ("S20", "booked"), ("S21", "booked"),
        ("S22", "booked"), ("S26", "noshow"), ("S27", "booked"),
    ],
)  # fmt: skip
def test_without_sch25_the_event_decides(event: str, status: str) -> None:
    assert appointment(event=event)["status"] == status


@pytest.mark.parametrize(("event", "kept"), [("S18", True), ("S22", True), ("S27", True), ("S13", False)])
def test_an_event_about_resources_keeps_the_stored_status(event: str, kept: bool) -> None:
    stored = appointment(f25="Started")
    later = mapped(siu(event=event, at="20250305081500+0100"), "Appointment")
    body = settle(stored, later, {}).body
    assert body is not None
    assert body["status"] == ("checked-in" if kept else "booked")


def test_a_code_no_table_knows_leaves_the_event_and_stays_beside_it() -> None:
    body = appointment(event="S15", f25="Storno^Storniert^99HOSP")
    assert body["status"] == "cancelled"
    assert body["extension"][0]["valueCoding"]["code"] == "Storno"


def test_the_state_of_one_service_is_no_cancelling_of_the_rest() -> None:
    line = "AIS|1||COLO^Colonoscopy^99HOSP|||||||Cancelled"
    assert appointment(line, event="S20")["status"] == "booked"
    assert appointment(line, event="S15")["status"] == "cancelled"


# times ----------------------------------------------------------------------------------------------------------------


def test_booked_without_a_time_is_pending_and_says_so() -> None:
    body = appointment(f11="")
    assert body["status"] == "pending"
    assert body["_start"]["extension"][0]["valueCode"] == body["_end"]["extension"][0]["valueCode"] == "unknown"


def test_a_change_that_names_no_time_keeps_the_stored_one() -> None:
    later = mapped(siu(event="S14", at="20250305081500+0100", f11=""), "Appointment")
    body = settle(appointment(), later, {}).body
    assert body is not None
    assert (body["status"], body["start"]) == ("booked", "2025-03-20T10:00:00+01:00")
    assert "_start" not in body


@pytest.mark.parametrize(
    ("segments", "fields", "end"),
    [
        ([f"AIS|1||X|{START}|||90|min"], {"f11": TIMES, "f9": "60", "f10": "min"}, "2025-03-20T10:45:00+01:00"),
        ([f"AIS|1||X|{START}|||90|min"], {"f11": f"^^^{START}", "f9": "60", "f10": "min"}, "2025-03-20T11:30:00+01:00"),
        ([f"AIS|1||X|{START}|||90|min", f"AIS|2||Y|{START}|||2|h"], {"f11": ""}, "2025-03-20T12:00:00+01:00"),
        ([], {"f11": f"^^^{START}", "f9": "60", "f10": "min"}, "2025-03-20T11:00:00+01:00"),
        ([], {"f11": f"^^M30^{START}", "f9": "60", "f10": "min"}, "2025-03-20T10:30:00+01:00"),
        ([f"AIP|1||{LEYLA}|||{START}|||20|min"], {"f11": ""}, "2025-03-20T10:20:00+01:00"),
    ],
)
def test_the_end_is_sch11_then_the_services_then_the_duration(
    segments: list[str], fields: dict[str, str], end: str
) -> None:
    body = appointment(*segments, **fields)
    assert (body["start"], body["end"]) == ("2025-03-20T10:00:00+01:00", end)


def test_tq1_takes_the_place_of_sch11() -> None:
    found = convert(
        header("SIU^S12", version="2.6"), segment("SCH", f2=NUMBER, f11="^^^20250301^20250331"),
        "TQ1|1||||||20250320100000+0100|20250320104500+0100", PID,
    )  # fmt: skip
    body = one(found, "Appointment")
    assert (body["start"], body["end"]) == ("2025-03-20T10:00:00+01:00", "2025-03-20T10:45:00+01:00")
    assert body["requestedPeriod"] == [{"start": "2025-03-01", "end": "2025-03-31"}]


def test_a_day_never_becomes_an_instant() -> None:
    body = appointment(f11="^^^20250320^20250321")
    assert "start" not in body
    assert body["_start"]["extension"][0]["valueString"] == "20250320"
    assert body["status"] == "pending"


@pytest.mark.parametrize(("amount", "unit"), [("45", ""), ("45", "barn"), ("x", "min"), ("-5", "min"), ("1e9", "wk")])
def test_a_number_without_a_unit_is_no_duration(amount: str, unit: str) -> None:
    conversion = siu(f11=f"^^^{START}", f9=amount, f10=unit)
    body = one(conversion, "Appointment")
    assert "minutesDuration" not in body
    assert "end" not in body
    assert "bad-value" in {issue.code for issue in conversion.issues}


def test_seconds_are_minutes_only_where_they_are_whole() -> None:
    assert appointment(f9="120", f10="s")["minutesDuration"] == 2
    assert "minutesDuration" not in appointment(f9="90", f10="s")


def test_an_offset_counts_from_the_appointment() -> None:
    body = appointment(f"AIP|1||{LEYLA}||||15|min|20|min")
    assert body["participant"][1]["period"] == {
        "start": "2025-03-20T10:15:00+01:00",
        "end": "2025-03-20T10:35:00+01:00",
    }


# reasons and notes ----------------------------------------------------------------------------------------------------


def test_a_reason_is_a_reason_of_cancelling_only() -> None:
    cancelled, booked = appointment(event="S15", f6="ILL^Ill^99HOSP"), appointment(f6="ILL^Ill^99HOSP")
    assert cancelled["cancelationReason"]["coding"][0]["code"] == "ILL"
    assert "comment" not in cancelled
    assert "cancelationReason" not in booked
    assert booked["comment"] == "Ill"


@pytest.mark.parametrize("event", ["S17", "S26"])
def test_app4_has_no_reason_for_error_and_no_show(event: str) -> None:
    assert "cancelationReason" not in appointment(event=event, f6="X^Unknown^99HOSP")


def test_notes_of_every_segment_are_one_comment_and_the_patients_stay_hers() -> None:
    conversion = convert(
        header("SIU^S12"), segment("SCH", f2=NUMBER, f11=TIMES), "NTE|1||of SCH", "NTE|2||second line", PID,
        "NTE|1||of PID", "RGS|1", "NTE|1||of RGS", "AIS|1||X", "NTE|1||of AIS", "AIL|1||MED^4", "NTE|1||of AIL",
    )  # fmt: skip
    assert one(conversion, "Appointment")["comment"] == "of SCH\nsecond line\nof RGS\nof AIS\nof AIL"
    assert one(conversion, "Patient")["extension"][0]["valueAnnotation"]["text"] == "of PID"


# who and what takes part ----------------------------------------------------------------------------------------------


def test_resources_need_no_group() -> None:
    lines = ["AIS|1||COLO^Colonoscopy^99HOSP", f"AIP|1||{LEYLA}", "AIL|1||MED^4"]
    bare, grouped = siu(*lines), siu("RGS|1", *lines)
    assert one(bare, "Appointment") == one(grouped, "Appointment")
    assert "unexpected-segment" not in {issue.code for issue in bare.issues}


def test_a_resource_without_a_number_still_takes_part_with_its_role() -> None:
    body = appointment("AIP|1|||SURG^Surgeon^99HOSP")
    assert body["participant"][1]["type"][0]["coding"][0]["code"] == "SURG"


@pytest.mark.parametrize(
    ("word", "kind"),
    [("EQUIPMENT", "Device"), ("room", "Location"), ("x^Nurse", "Practitioner"), ("CLINIC", "HealthcareService")],
)
def test_aig4_says_what_a_general_resource_is(word: str, kind: str) -> None:
    conversion = siu(f"AIG|1||R7^Number seven^99HOSP|{word}")
    assert one(conversion, "Appointment")["participant"][1]["actor"]["reference"].startswith(f"{kind}/")
    assert mapped(conversion, kind).mode == "stub"


def test_a_resource_of_no_known_kind_is_a_logical_reference() -> None:
    conversion = siu("AIG|1||R7^Number seven^99HOSP|TEAM^Team^99HOSP")
    actor = one(conversion, "Appointment")["participant"][1]["actor"]
    assert (actor["identifier"]["value"], "reference" in actor) == ("R7", False)


def test_one_code_under_two_kinds_is_two_things() -> None:
    body = appointment("AIG|1||R7^Seven^99HOSP|ROOM", "AIG|2||R7^Seven^99HOSP|EQUIPMENT")
    kinds = [each["actor"]["reference"].partition("/")[0] for each in body["participant"][1:]]
    assert kinds == ["Location", "Device"]


def test_a_contact_brings_phone_and_address_and_a_nameless_one_nothing() -> None:
    fields = {"f13": "^WPN^PH^^43^1^5550150~^NET^Internet^k@example.org", "f14": "Gasse 1^^Wien^^1070^AUT"}
    person = one(siu(f12=LEYLA, **fields), "Practitioner")
    assert [each["system"] for each in person["telecom"]] == ["phone", "email"]
    assert person["address"][0]["city"] == "Wien"
    inside = one(siu(f12="^Kaya^Leyla", **fields), "Appointment")["contained"][0]
    assert inside["telecom"][1]["value"] == "k@example.org"
    assert bodies(siu(**fields), "Practitioner") == []


@pytest.mark.parametrize(
    ("code", "status"), [("Booked", "accepted"), ("Pending", "needs-action"), ("Cancelled", "declined")]
)
def test_a_resource_has_a_status_of_its_own(code: str, status: str) -> None:
    assert appointment(f"AIP|1||{LEYLA}|||||||||{code}")["participant"][1]["status"] == status


def test_whom_no_status_is_said_of_follows_the_appointment() -> None:
    assert appointment(f25="Pending")["participant"][0]["status"] == "needs-action"
    assert appointment()["participant"][0]["status"] == "accepted"


def test_a_message_without_action_codes_is_the_whole_list() -> None:
    stored = appointment(f"AIP|1||{LEYLA}", "AIL|1||MED^4", "AIS|1||COLO")
    later = mapped(siu(f"AIP|1||{TOM}", "AIS|1||GASTRO", event="S14", at="20250305081500+0100"), "Appointment")
    body = settle(stored, later, {}).body
    assert body is not None
    assert actors(body)[1:] == ["Tom Berg"]
    assert [each["coding"][0]["code"] for each in body["serviceType"]] == ["GASTRO"]


def test_action_codes_change_the_list_and_leave_the_rest() -> None:
    stored = appointment(f"AIP|1||{LEYLA}", "AIL|1||MED^4", "AIS|1||COLO", "AIS|2||CTRL")
    changes = [f"AIP|1|D|{LEYLA}", f"AIP|2|A|{TOM}", "AIS|1|D|COLO"]
    later = mapped(siu(*changes, event="S14", at="20250305081500+0100"), "Appointment")
    body = settle(stored, later, {}).body
    assert body is not None
    assert actors(body)[1:] == ["4", "Tom Berg"]
    assert [each["coding"][0]["code"] for each in body["serviceType"]] == ["CTRL"]


def test_a_group_that_is_deleted_takes_its_resources_with_it() -> None:
    stored = appointment("RGS|1", f"AIP|1||{LEYLA}", "AIG|1||NURSING^Nursing^99HOSP|TEAM")
    gone = siu(
        "RGS|1|D", f"AIP|1||{LEYLA}", "AIG|1||NURSING^Nursing^99HOSP|TEAM", event="S20", at="20250305081500+0100"
    )
    body = settle(stored, mapped(gone, "Appointment"), {}).body
    assert body is not None
    assert len(body["participant"]) == 1


def test_a_cancelling_that_names_nobody_removes_nobody() -> None:
    stored = appointment(f"AIP|1||{LEYLA}")
    body = settle(stored, mapped(siu(event="S15", at="20250305081500+0100"), "Appointment"), {}).body
    assert body is not None
    assert (body["status"], actors(body)[1:]) == ("cancelled", ["Leyla Kaya"])


def test_a_cancelling_counts_though_it_comes_late() -> None:
    clock = {"": "2025-03-06T08:00:00+01:00"}
    late = settle(appointment(), mapped(siu(event="S15"), "Appointment"), clock)
    assert late.body is not None
    assert late.body["status"] == "cancelled"


# orders ---------------------------------------------------------------------------------------------------------------

FIRST, SECOND = "OP-1^ORDERS^2.999.3.2^ISO", "OP-2^ORDERS^2.999.3.2^ISO"


def test_the_nth_number_is_the_nth_services_order() -> None:
    conversion = siu("AIS|1||COLO", "AIS|2||GASTRO", f26=f"{FIRST}~{SECOND}")
    orders = {each["code"]["coding"][0]["code"]: each for each in bodies(conversion, "ServiceRequest")}
    assert orders["COLO"]["identifier"][0]["value"] == "OP-1"
    assert orders["GASTRO"]["identifier"][0]["value"] == "OP-2"
    assert len(one(conversion, "Appointment")["basedOn"]) == 2


def test_one_number_covers_every_service() -> None:
    orders = bodies(siu("AIS|1||COLO", "AIS|2||GASTRO", f26=FIRST), "ServiceRequest")
    assert [each["identifier"][0]["value"] for each in orders] == ["OP-1", "OP-1"]


def test_an_appointment_names_the_order_that_its_own_message_made() -> None:
    order = convert(
        header("ORU^R01"), PID, f"ORC|RE|{FIRST}", f"OBR|1|{FIRST}||COLO^Colonoscopy^99HOSP|||20250304090000+0100"
    )
    booked = siu("AIS|1||COLO^Colonoscopy^99HOSP", f26=FIRST)
    (reference,) = one(booked, "Appointment")["basedOn"]
    assert reference["reference"] == f"ServiceRequest/{one(order, 'ServiceRequest')['id']}"
    assert mapped(booked, "ServiceRequest").mode == "stub"  # what the order says of itself stands


@pytest.mark.parametrize("others", [[], ["AIS|1||COLO", "PID|2||4712^^^HOSP&2.999.1.4&ISO^MR"]])
def test_an_order_of_nobody_known_is_a_logical_reference(others: list[str]) -> None:
    conversion = siu(*others, f26=FIRST)
    assert bodies(conversion, "ServiceRequest") == []
    (reference,) = one(conversion, "Appointment")["basedOn"]
    assert (reference["type"], reference["identifier"]["value"]) == ("ServiceRequest", "OP-1")


# identity, labels -----------------------------------------------------------------------------------------------------


def test_the_filler_number_identifies_then_the_placers_then_the_place() -> None:
    by_filler, again = siu(f1="P-1"), siu(f1="P-2", f11="")
    assert one(by_filler, "Appointment")["id"] == one(again, "Appointment")["id"]
    assert one(siu(f2="", f1="P-1"), "Appointment")["id"] != one(by_filler, "Appointment")["id"]
    assert "no-identity" in {issue.code for issue in siu(f2="").issues}


def test_occurrences_of_one_series_are_apart() -> None:
    assert one(siu(f3="1"), "Appointment")["id"] != one(siu(f3="2"), "Appointment")["id"]


def test_a_patients_label_covers_her_appointment_and_its_orders() -> None:
    conversion = siu("PD1||||||||||||Y", "AIS|1||COLO", f26=FIRST)
    for kind in ("Appointment", "ServiceRequest"):
        assert one(conversion, kind)["meta"]["security"][0]["code"] == "R"
    assert "meta" not in one(siu("PD1||||||||||||N"), "Appointment")


def test_every_patient_of_a_group_takes_part() -> None:
    body = one(siu("PID|2||4712^^^HOSP&2.999.1.4&ISO^MR"), "Appointment")
    assert len({each["actor"]["reference"] for each in body["participant"]}) == 2


# slots ----------------------------------------------------------------------------------------------------------------


def _slot(event: str, *segments: str, **sch: str) -> Conversion:
    return convert(header(f"SIU^{event}"), segment("SCH", **({"f2": NUMBER, "f11": TIMES} | sch)), *segments)


def test_blocked_time_is_a_busy_slot_and_opening_frees_the_same_one() -> None:
    blocked, opened = _slot("S23", f"AIP|1||{LEYLA}"), _slot("S24", f"AIP|1||{LEYLA}")
    busy, free = one(blocked, "Slot"), one(opened, "Slot")
    assert (busy["status"], free["status"], busy["id"]) == ("busy-unavailable", "free", free["id"])
    assert busy["schedule"] == {"reference": f"Schedule/{one(blocked, 'Schedule')['id']}"}
    assert one(blocked, "Schedule")["actor"][0]["display"] == "Leyla Kaya"
    assert bodies(blocked, "Appointment") == bodies(blocked, "Patient") == []


def test_each_resource_has_a_slot_of_its_own_with_its_own_time() -> None:
    conversion = _slot("S23", f"AIP|1||{LEYLA}", "AIL|1||MED^4|||20250320120000+0100|||30|min")
    starts = [each["start"] for each in bodies(conversion, "Slot")]
    assert starts == ["2025-03-20T10:00:00+01:00", "2025-03-20T12:00:00+01:00"]
    assert all(validate(each.body) == () for each in conversion.resources)


def test_a_schedule_that_is_only_named_has_an_actor_nobody_knows() -> None:
    conversion = _slot("S23", "AIS|1||COLO^Colonoscopy^99HOSP", f5="ENDO^Endoscopy^99HOSP")
    assert one(conversion, "Schedule")["actor"][0]["extension"][0]["valueCode"] == "unknown"
    assert one(conversion, "Slot")["serviceType"][0]["coding"][0]["code"] == "COLO"


def test_a_slot_without_any_time_says_so_and_takes_a_services() -> None:
    bare = one(_slot("S23", f5="ENDO", f11=""), "Slot")
    assert bare["_start"]["extension"][0]["valueCode"] == "unknown"
    timed = one(_slot("S23", f"AIS|1||X|{START}|||45|min", f5="ENDO", f11=""), "Slot")
    assert (timed["start"], timed["end"]) == ("2025-03-20T10:00:00+01:00", "2025-03-20T10:45:00+01:00")
