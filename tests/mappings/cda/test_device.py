"""Devices: what was supplied, put in, ordered; unique identifiers; no known devices."""

import pytest

from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes

DEVICES, IMPLANTS, PROCEDURES, PLAN = "46264-8", "59771-6", "47519-4", "18776-5"
SCT = 'codeSystem="2.16.840.1.113883.6.96"'
FDA = "2.16.840.1.113883.3.3719"
NCI = 'codeSystem="2.16.840.1.113883.3.26.1.1"'
GENERIC = f'<code code="40388003" {SCT} displayName="Implant"/>'
UDI = "(01)51022222233336(11)141231(17)150707(10)A213B1(21)1234"


def role(code: str = f'<code code="65818007" {SCT} displayName="Stent"/>', number: str = "", kind: str = "DEV") -> str:
    return (
        f'<participant typeCode="{kind}"><participantRole classCode="MANU">{number}'
        f"<playingDevice>{code}</playingDevice></participantRole></participant>"
    )


def udi(written: str = UDI) -> str:
    return f'<id root="{FDA}" extension="{written}"/>'


def supply(inside: str, own: str = "", mood: str = "EVN", id_: str = "d") -> str:
    return f"""<entry><supply classCode="SPLY" moodCode="{mood}" {own}>
      <id root="2.999.9" extension="{id_}"/>{inside}</supply></entry>"""


def implant(inside: str, own: str = "", status: str = "completed", id_: str = "p") -> str:
    return (
        f'<entry><procedure classCode="PROC" moodCode="EVN" {own}><id root="2.999.9" extension="{id_}"/>'
        f"""<code code="103716009" {SCT}/><statusCode code="{status}"/>
          <effectiveTime value="20150512"/>{inside}</procedure></entry>"""
    )


# its use --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "time", "expected"),
    [
        ("completed", '<low value="2010"/><high value="2012"/>', "completed"),
        ("completed", '<low value="2010"/>', "active"),
        ("completed", '<high value="2012"/>', "active"),
        ("completed", '<low value="2010"/><high value="2030"/>', "active"),
        ("active", '<low value="2010"/>', "active"),
        ("aborted", '<low value="2010"/><high value="2012"/>', "stopped"),
        ("held", "", "on-hold"),
        ("new", "", "intended"),
        ("nullified", "", "entered-in-error"),
    ],
)
def test_what_was_supplied_is_in_use_until_a_time_says_it_is_not(status: str, time: str, expected: str) -> None:
    inside = f'<statusCode code="{status}"/><effectiveTime>{time}</effectiveTime>{role(kind="PRD")}'
    assert one(of_sections((DEVICES, supply(inside))), "DeviceUseStatement")["status"] == expected


def test_without_a_status_it_is_in_use() -> None:
    found = one(of_sections((DEVICES, supply(role()))), "DeviceUseStatement")
    assert found["status"] == "active"


def test_an_end_alone_says_when_it_was_supplied() -> None:
    inside = f'<statusCode code="completed"/><effectiveTime><high value="20130703"/></effectiveTime>{role()}'
    found = one(of_sections((DEVICES, supply(inside))), "DeviceUseStatement")
    assert found["timingDateTime"] == "2013-07-03"
    assert "timingPeriod" not in found


@pytest.mark.parametrize("section", [DEVICES, IMPLANTS, "55122-6"])
def test_a_procedure_among_devices_tells_of_their_use(section: str) -> None:
    done = of_sections((section, implant(role())))
    use, procedure, device = one(done, "DeviceUseStatement"), one(done, "Procedure"), one(done, "Device")
    assert use["status"] == "active"
    assert use["timingPeriod"] == {"start": "2015-05-12"}
    assert use["derivedFrom"] == [{"reference": f"Procedure/{procedure['id']}"}]
    assert use["device"]["reference"] == f"Device/{device['id']}"
    assert procedure["focalDevice"][0]["manipulated"]["reference"] == f"Device/{device['id']}"
    assert device["patient"] == use["subject"] == procedure["subject"]


@pytest.mark.parametrize("status", ["aborted", "cancelled", "new", "nullified"])
def test_a_device_that_was_not_put_in_is_not_in_use(status: str) -> None:
    assert every(of_sections((DEVICES, implant(role(), status=status))), "DeviceUseStatement") == []


def test_a_tool_of_a_procedure_elsewhere_is_no_device_in_use() -> None:
    done = of_sections((PROCEDURES, implant(role())))
    assert len(every(done, "Device")) == 1
    assert every(done, "DeviceUseStatement") == []


@pytest.mark.parametrize("section", [DEVICES, PLAN])
@pytest.mark.parametrize("mood", ["INT", "RQO"])
def test_what_is_to_be_supplied_is_a_request(section: str, mood: str) -> None:
    template = '<templateId root="2.16.840.1.113883.10.20.22.4.43"/>'
    done = of_sections(
        (section, supply(f'{template}<statusCode code="active"/><quantity value="2"/>{role()}', mood=mood))
    )
    found = one(done, "DeviceRequest")
    assert found["codeCodeableConcept"]["coding"][0]["code"] == "65818007"
    assert found["parameter"][0]["valueQuantity"]["value"] == 2
    assert every(done, "DeviceUseStatement") == []


def test_a_drug_among_devices_is_a_drug() -> None:
    drug = """<product><manufacturedProduct><manufacturedMaterial>
      <code code="573621" codeSystem="2.16.840.1.113883.6.88"/>
      </manufacturedMaterial></manufacturedProduct></product>"""
    done = of_sections((DEVICES, supply(drug)))
    assert len(every(done, "MedicationDispense")) == 1
    assert every(done, "DeviceUseStatement") == []


def test_an_organizer_of_equipment_holds_each_of_it() -> None:
    held = "".join(f"<component>{supply(role(), id_=name)[7:-8]}</component>" for name in "ab")
    group = f"""<entry><organizer classCode="CLUSTER" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.135"/>{held}</organizer></entry>"""
    assert len(every(of_sections((DEVICES, group)), "DeviceUseStatement")) == 2


# what it is -----------------------------------------------------------------------------------------------------------


def test_an_identifier_is_taken_apart() -> None:
    found = one(of_sections((DEVICES, implant(role(number=udi())))), "Device")
    (carrier,) = found["udiCarrier"]
    assert carrier == {
        "carrierHRF": UDI,
        "deviceIdentifier": "51022222233336",
        "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di",
        "jurisdiction": "http://hl7.org/fhir/NamingSystem/fda-udi",
    }
    told = [found[name] for name in ("lotNumber", "serialNumber", "manufactureDate", "expirationDate")]
    assert told == ["A213B1", "1234", "2014-12-31", "2015-07-07"]
    assert "identifier" not in found


def test_an_identifier_of_no_known_form_stays_whole() -> None:
    found = one(of_sections((DEVICES, implant(role(number=udi("ODD-17"))))), "Device")
    assert found["udiCarrier"][0]["carrierHRF"] == "ODD-17"
    assert "deviceIdentifier" not in found["udiCarrier"][0]
    assert "lotNumber" not in found


def test_a_date_in_an_identifier_that_is_none_is_told_of() -> None:
    done = of_sections((DEVICES, implant(role(number=udi("(01)51022222233336(11)160542(10)A")))))
    assert "not-a-date" in codes(done)
    assert "manufactureDate" not in one(done, "Device")


@pytest.mark.parametrize(
    "number", [f'<id root="{FDA}" nullFlavor="NI"/>', f'<id root="{FDA}"/>', '<id nullFlavor="UNK"/>', ""]
)
def test_an_unknown_identifier_is_none(number: str) -> None:
    found = one(of_sections((DEVICES, implant(role(number=number)))), "Device")
    assert "udiCarrier" not in found
    assert "identifier" not in found
    assert found["type"]["coding"][0]["display"] == "Stent"


def organizer(inside: str, written: str = UDI) -> str:
    held = f'<id root="{FDA}" extension="{written}"/><code code="74711-3" codeSystem="2.16.840.1.113883.6.1"/>{inside}'
    return (
        '<entryRelationship typeCode="COMP"><organizer classCode="CLUSTER" moodCode="EVN">'
        f'<templateId root="2.16.840.1.113883.10.20.22.4.311"/>{held}</organizer></entryRelationship>'
    )


def part(code: str, value: str) -> str:
    return f"""<component><observation classCode="OBS" moodCode="EVN">
      <code code="{code}" {NCI}/>{value}</observation></component>"""


def test_the_organizer_beside_a_device_says_the_rest() -> None:
    parts = (
        part("C71898", '<value xsi:type="ED">Exampler</value>')
        + part("C99285", '<value xsi:type="ED">M-1</value>')
        + part("C54131", '<value xsi:type="ED">Example Devices</value>')
        + part("C160938", f'<value xsi:type="CD" code="C106038" {NCI}/>')
        + part("C106044", f'<value xsi:type="CD" code="C113844" {NCI}/>')
        + part("C160939", f'<value xsi:type="CD" code="C45329" {NCI}/>')
    )
    done = of_sections((DEVICES, implant(role(number=udi()) + organizer(parts))))
    found = one(done, "Device")
    assert found["deviceName"] == [{"name": "Exampler", "type": "user-friendly-name"}]
    assert [found[name] for name in ("modelNumber", "manufacturer", "status")] == ["M-1", "Example Devices", "active"]
    assert [each["coding"][0]["code"] for each in found["safety"]] == ["C106038", "C113844"]
    assert len(found["udiCarrier"]) == 1
    assert every(done, "Observation") == []
    assert {said for _, said in outcomes(done)} == {"mapped"}


def test_each_organizer_goes_to_the_device_of_its_identifier() -> None:
    other = UDI.replace("1234", "9999")
    inside = role(number=udi()) + role(number=udi(other))
    names = organizer(part("C71898", '<value xsi:type="ED">One</value>')) + organizer(
        part("C71898", '<value xsi:type="ED">Other</value>'), other
    )
    done = of_sections((DEVICES, implant(inside + names)))
    told = {each["serialNumber"]: each["deviceName"][0]["name"] for each in every(done, "Device")}
    assert told == {"1234": "One", "9999": "Other"}


def test_one_number_on_two_kinds_of_device_is_two_devices() -> None:
    number = '<id root="2.999.9" extension="same"/>'
    other = role(f'<code code="87405001" {SCT}/>', number)
    done = of_sections((DEVICES, supply(role(number=number), id_="a") + supply(other, id_="b")))
    assert len(every(done, "Device")) == 2


def test_one_device_in_two_statements_is_one() -> None:
    done = of_sections((DEVICES, implant(role(number=udi()))), (PROCEDURES, implant(role(number=udi()), id_="q")))
    assert len(every(done, "Device")) == 1
    assert len(every(done, "Procedure")) == 2


# traps 1 and 2 --------------------------------------------------------------------------------------------------------


def test_negation_is_never_lost_supply() -> None:
    """Of a device that is named nothing says in R4 that it was not supplied: refused. Of none it is a known absence."""
    done = of_sections((DEVICES, supply(role(), 'negationInd="true"')))
    assert every(done, "DeviceUseStatement") == every(done, "Device") == []
    assert "unsupported-statement" in codes(done)


EU = 'codeSystem="2.16.840.1.113883.5.1150.1"'


@pytest.mark.parametrize(
    "entry",
    [
        supply(role(f'<code code="no-known-devices" {EU}/>')),
        supply(role(f'<code code="no-known-device" {EU}/>')),
        supply(role(GENERIC), 'negationInd="true"'),
        supply(role('<code nullFlavor="NA"/>'), 'negationInd="true"'),
        f'<entry><procedure classCode="PROC" moodCode="EVN" negationInd="true"><code code="71388002" {SCT}/>'
        f"{role(GENERIC)}</procedure></entry>",
        f'<entry><procedure classCode="PROC" moodCode="EVN"><code code="no-known-devices" {EU}/></procedure></entry>',
    ],
)
def test_no_known_devices_is_a_fact(entry: str) -> None:
    done = of_sections((DEVICES, entry))
    found = one(done, "DeviceUseStatement")
    (device,) = found["contained"]
    assert device["type"]["coding"][0]["code"] == "787483001"
    assert every(done, "Procedure") == []


@pytest.mark.parametrize(
    "code", [f'<code code="no-device-info" {EU}/>', '<code nullFlavor="NI"/>', '<code nullFlavor="NA"/>']
)
def test_no_information_is_no_device(code: str) -> None:
    done = of_sections((DEVICES, supply(role(code) + "<text>No information.</text>")))
    assert every(done, "DeviceUseStatement") == []
    assert one(done, "Composition")["section"][0]["emptyReason"]["coding"][0]["code"] == "unavailable"


def test_what_the_patient_asks_for_herself_has_no_requester() -> None:
    """R4 takes those who provide care there, and her number makes her none of them."""
    own = """<author><time value="20260227"/><assignedAuthor><id root="2.999.2" extension="P1"/></assignedAuthor>
      </author>"""
    template = '<templateId root="2.16.840.1.113883.10.20.22.4.43"/>'
    done = of_sections((DEVICES, supply(template + own + role(), mood="INT")))
    assert "requester" not in one(done, "DeviceRequest")
    assert "P1" not in str(every(done, "Practitioner"))
