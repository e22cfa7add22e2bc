"""Accounts and charges: what is a charge, what it costs and is for, which stay it belongs to, when an account ends.

Source: HL7 v2.9 chapter 6; design chapter HL7 v2 §4, §6; FHIR R4 Account, ChargeItem.
"""

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Store, bodies, codes, convert, header, mapped, one, segment

PID = f"PID|1||4711{MR}|||||||||||||||A1^^^HOSP&2.999.1.40&ISO"
VISIT = "PV1|1|O|||||||||||||||||{}^^^HOSP&2.999.1.6&ISO"


def ft1(**fields: str) -> str:
    known = {"f1": "1", "f2": "T1", "f4": "20250310", "f6": "CG", "f7": "X100^Chest film^99TAR", "f10": "1"}
    return segment("FT1", **(known | fields))


def dft(*segments: str, at: str = "20250310120000+0100") -> Conversion:
    return convert(header("DFT^P03", at), PID, VISIT.format("V1"), *segments)


def bar(event: str, *segments: str, at: str = "20250310120000+0100") -> Conversion:
    return convert(header(f"BAR^{event}", at), f"EVN|{event}|{at}||||20250309", PID, *segments)


def test_a_charge_names_its_patient_stay_and_account() -> None:
    conversion = dft(ft1(f11="60.00&EUR"))
    charge = one(conversion, "ChargeItem")
    assert charge["subject"]["reference"] == f"Patient/{one(conversion, 'Patient')['id']}"
    assert charge["context"]["reference"] == f"Encounter/{one(conversion, 'Encounter')['id']}"
    assert charge["account"] == [{"reference": f"Account/{one(conversion, 'Account')['id']}"}]
    assert str(charge["priceOverride"]["value"]) == "60.00"
    assert validate(charge) == ()


@pytest.mark.parametrize(
    ("kind", "status"), [("CG", "billable"), ("CG^Charge^HL70017", "billable"), ("CD", "unknown"), ("", "unknown")]
)
def test_the_type_of_a_transaction_is_the_status_of_the_charge(kind: str, status: str) -> None:
    assert one(dft(ft1(f6=kind)), "ChargeItem")["status"] == status


@pytest.mark.parametrize("kind", ["PY", "AJ", "CO", "PY^Payment^HL70017"])
def test_a_payment_is_no_charge_and_is_named(kind: str) -> None:
    conversion = dft(ft1(f6=kind))
    assert not bodies(conversion, "ChargeItem")
    assert "kind-unmapped" in codes(conversion)


def test_the_same_transaction_sent_again_is_the_same_charge() -> None:
    first, again = dft(ft1()), dft(ft1(f10="3"), at="20250311120000+0100")
    assert one(first, "ChargeItem")["id"] == one(again, "ChargeItem")["id"]
    assert str(Store().take(first).take(again).one("ChargeItem")["quantity"]["value"]) == "3"


def test_lines_that_are_numbered_anew_in_each_message_stay_apart() -> None:
    other = convert(header("DFT^P03"), PID, VISIT.format("V2"), ft1())
    assert one(dft(ft1()), "ChargeItem")["id"] != one(other, "ChargeItem")["id"]
    assert one(dft(ft1()), "ChargeItem")["id"] != one(dft(ft1(f7="X200^^99TAR")), "ChargeItem")["id"]
    assert "no-identity" in codes(dft(ft1(f2="")))


@pytest.mark.parametrize(
    ("procedure", "expected"),
    [
        ("71045^Chest X-ray^C4", ["X100", "71045"]),
        ("X100^Chest film^99TAR", ["X100"]),
        ("X100^Other^C4", ["X100", "X100"]),
        ("", ["X100"]),
    ],
)
def test_the_procedure_stands_beside_the_tariff_once(procedure: str, expected: list[str]) -> None:
    charge = one(dft(ft1(f25=procedure)), "ChargeItem")
    assert [coding["code"] for coding in charge["code"]["coding"]] == expected


def test_what_stands_below_a_charge_is_what_it_is_for() -> None:
    order = ("ORC|RE|P9^HOSP^2.999.1.20^ISO", "OBR|1|P9^HOSP^2.999.1.20^ISO||36554-4^XR Chest^LN")
    conversion = dft(ft1(), "PR1|1||71045^Chest X-ray^C4||20250310", *order)
    charge = one(conversion, "ChargeItem")
    assert charge["service"] == [{"reference": f"Procedure/{one(conversion, 'Procedure')['id']}"}]
    expected = {"reference": f"ServiceRequest/{one(conversion, 'ServiceRequest')['id']}"}
    assert charge["supportingInformation"] == [expected]


def test_diagnoses_of_several_stays_are_not_mixed_up() -> None:
    lines = [VISIT.format("V1"), "DG1|1||I50.1^^I10", VISIT.format("V2"), "DG1|1||M16.1^^I10"]
    conversion = bar("P01", *lines)
    stays = [f"Encounter/{body['id']}" for body in bodies(conversion, "Encounter")]
    assert [body["encounter"]["reference"] for body in bodies(conversion, "Condition")] == stays
    assert len(stays) == 2


def test_a_diagnosis_without_a_stay_is_the_patients() -> None:
    conversion = bar("P05", "DG1|1||I50.1^^I10")
    assert "encounter" not in one(conversion, "Condition")
    assert "unexpected-segment" not in codes(conversion)


@pytest.mark.parametrize(
    ("event", "status", "end"),
    [
        ("P01", "active", None),
        ("P05", "active", None),
        ("P02", "inactive", None),
        ("P06", "inactive", "2025-03-09"),
    ],
)
def test_the_event_says_what_becomes_of_the_account(event: str, status: str, end: str | None) -> None:
    account = one(bar(event), "Account")
    assert (account["status"], account.get("servicePeriod", {}).get("end")) == (status, end)
    assert validate(account) == ()


def test_an_account_that_was_ended_stays_so_though_an_older_message_arrives() -> None:
    ended, older = bar("P06", at="20250311120000+0100"), bar("P01", at="20250301120000+0100")
    assert Store().take(ended).take(older).one("Account")["status"] == "inactive"
    assert Store().take(older).take(ended).one("Account")["status"] == "inactive"


def test_billing_does_not_rewrite_who_the_patient_is() -> None:
    assert mapped(bar("P05"), "Patient").mode == "stub"
    assert mapped(dft(ft1()), "Encounter").mode == "stub"


def test_pointers_in_one_line_are_components_of_text() -> None:
    line = "OBX|1|RP|8867-4^Heart rate^LN||strip-60^MONITOR~strip-120^MONITOR||||||F"
    (found,) = bodies(bar("P12", VISIT.format("V1"), line), "Observation")
    assert [each["valueString"] for each in found["component"]] == ["strip-60", "strip-120"]
    assert validate(found) == ()


@pytest.mark.parametrize(("status", "reports"), [("F", 1), ("", 0)])
def test_an_order_of_a_charge_reports_where_it_says_how_far_it_is(status: str, reports: int) -> None:
    order = segment("OBR", f1="1", f2="P9^HOSP^2.999.1.20^ISO", f4="36554-4^XR Chest^LN", f25=status)
    conversion = dft("ORC|RE|P9^HOSP^2.999.1.20^ISO", order, "OBX|1|TX|8251-1^Comment^LN||none||||||F", ft1())
    found = bodies(conversion, "DiagnosticReport")
    assert len(found) == reports
    assert [len(each["result"]) for each in found] == [1] * reports
