"""Results: status, time, specimen and ranges of panels and their results.

Source: C-CDA R2.1, result organizer and observation; C-CDA on FHIR, results; IHE PaLM TF-3 XD-LAB.
"""

from decimal import Decimal

import pytest

from mappings.cda.domains.services import service_of
from mappings.convert import Conversion
from tests.mappings.cda.converted import Json, codes, every, of_sections, one, outcomes
from tests.mappings.cda.observations import (
    INTERPRETATION,
    RESULTS,
    SNOMED,
    TIME,
    at,
    code,
    entry,
    measured,
    observation,
    organizer,
    related,
)

PANEL = code("57021-8")
UNITS = {"unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"}


def of(statement: str, section: str = RESULTS) -> Conversion:
    return of_sections((section, entry(statement)))


def hemoglobin(value: str = "13.2", **more: str) -> str:
    return measured("718-7", value, "g/dL", **more)


def specimen(number: str = "", kind: str = "119297000") -> str:
    id_ = f'<id root="2.999.7" extension="{number}"/>' if number else ""
    inside = f"<specimenPlayingEntity>{code(kind, SNOMED)}</specimenPlayingEntity>"
    return f"<specimen><specimenRole>{id_}{inside}</specimenRole></specimen>"


COLLECTION = (
    f'<procedure classCode="PROC" moodCode="EVN">{code("17636008", SNOMED)}{at("20260228080000+0100")}'
    f"{code('368208006', SNOMED).replace('<code', '<targetSiteCode')}</procedure>"
)

# status, time, specimen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("completed", "final"), ("active", "registered"), ("held", "registered"), ("suspended", "registered"),
     ("new", "registered"), ("aborted", "cancelled"), ("cancelled", "cancelled"), ("nullified", "entered-in-error"),
     ("", "unknown"), ("normal", "unknown")],
)  # fmt: skip
def test_report_status_time_and_specimen(sent: str, expected: str) -> None:
    """The status of a panel and of a result is the one that was sent; what is not there is unknown, never final."""
    done = of(organizer(hemoglobin(status=sent, time=""), coded=PANEL, status=sent, time=TIME, more=specimen("S1")))
    report, result, sample = one(done, "DiagnosticReport"), one(done, "Observation"), one(done, "Specimen")
    assert (report["status"], result["status"]) == (expected, expected)
    assert report["effectiveDateTime"] == result["effectiveDateTime"] == "2026-02-28T09:30:00+01:00"
    reference = {"reference": f"Specimen/{sample['id']}"}
    assert (report["specimen"], result["specimen"]) == ([reference], reference)


def test_a_completed_panel_with_a_result_to_come_is_partial_and_told_of() -> None:
    pending = observation(code("804-5"), '<value xsi:type="PQ" nullFlavor="NAV"/>', status="active")
    done = of(organizer(hemoglobin(), pending, coded=PANEL))
    assert one(done, "DiagnosticReport")["status"] == "partial"
    assert codes(done) == ["status-conflict"]


def test_a_report_does_not_list_what_was_entered_in_error() -> None:
    done = of(organizer(hemoglobin(), measured("804-5", "9", "g/dL", status="nullified"), coded=PANEL))
    right, wrong = every(done, "Observation")
    assert wrong["status"] == "entered-in-error"
    assert one(done, "DiagnosticReport")["result"] == [{"reference": f"Observation/{right['id']}"}]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (("20260228093000+0100", "20260227080000+0100"),
         {"effectivePeriod": {"start": "2026-02-27T08:00:00+01:00", "end": "2026-02-28T09:30:00+01:00"}}),
        (("20260228", "20260228"), {"effectiveDateTime": "2026-02-28"}),
        (("", ""), {}),
    ],
)  # fmt: skip
def test_a_panel_without_a_time_has_the_first_and_the_last_of_its_results(
    times: tuple[str, ...], expected: Json
) -> None:
    done = of(organizer(*(hemoglobin(id_=str(n), time=time) for n, time in enumerate(times)), coded=PANEL))
    report = one(done, "DiagnosticReport")
    assert {name: value for name, value in report.items() if name.startswith("effective")} == expected


def test_equal_ends_are_a_point() -> None:
    ends = '<effectiveTime><low value="20260228"/><high value="20260228"/></effectiveTime>'
    report = one(of(organizer(hemoglobin(), coded=PANEL, more=ends)), "DiagnosticReport")
    assert report["effectiveDateTime"] == "2026-02-28"


def test_a_panel_without_a_code_is_what_its_section_is() -> None:
    report = one(of(organizer(hemoglobin(), coded='<code nullFlavor="UNK"/>')), "DiagnosticReport")
    assert report["code"]["coding"][0]["code"] == RESULTS


def test_equal_codes_stay_several_results() -> None:
    done = of(organizer(hemoglobin("13.2", id_="a"), hemoglobin("13.2", id_="b"), hemoglobin("14"), coded=PANEL))
    assert len(one(done, "DiagnosticReport")["result"]) == 3
    assert [each["valueQuantity"]["value"] for each in every(done, "Observation")] == [
        Decimal("13.2"),
        Decimal("13.2"),
        Decimal(14),
    ]


def test_a_specimen_without_a_number_lives_in_what_speaks_of_it() -> None:
    """No two specimens may become one by their kind."""
    done = of(organizer(hemoglobin(), coded=PANEL, more=specimen()))
    assert every(done, "Specimen") == []
    for body in (one(done, "DiagnosticReport"), one(done, "Observation")):
        (inside,) = body["contained"]
        assert inside["type"]["coding"][0]["code"] == "119297000"


def test_a_result_of_several_specimens_names_none_but_its_own() -> None:
    own = measured("2345-7", "90", "mg/dL", more=specimen("S3"))
    done = of(organizer(hemoglobin(), own, coded=PANEL, more=specimen("S1") + specimen("S2")))
    without, with_own = every(done, "Observation")
    assert "specimen" not in without
    third = next(each for each in every(done, "Specimen") if each["identifier"][0]["value"] == "S3")
    assert with_own["specimen"] == {"reference": f"Specimen/{third['id']}"}
    assert len(one(done, "DiagnosticReport")["specimen"]) == 2


@pytest.mark.parametrize("number", ["S1", ""])
def test_how_a_specimen_was_taken_belongs_to_it_and_is_no_procedure(number: str) -> None:
    done = of(organizer(COLLECTION, hemoglobin(), coded=PANEL, more=specimen(number)))
    sample = one(done, "Specimen") if number else one(done, "DiagnosticReport")["contained"][0]
    assert sample["collection"]["collectedDateTime"] == "2026-02-28T08:00:00+01:00"
    assert sample["collection"]["bodySite"]["coding"][0]["code"] == "368208006"
    assert sample["type"]["coding"][0]["code"] == "119297000"
    assert every(done, "Procedure") == []
    assert [said for _, said in outcomes(done)] == ["mapped"] * 3


def test_a_specimen_that_was_taken_beside_its_panel_is_known_by_its_number() -> None:
    """As IHE's laboratory reports have it: all in one act, the specimen as the product of its taking."""
    product = f"<playingEntity>{code('119297000', SNOMED)}</playingEntity>"
    taking = (
        f'<procedure classCode="PROC" moodCode="EVN">{code("33882-2")}{at("20260228080000+0100")}'
        '<participant typeCode="PRD"><participantRole classCode="SPEC"><id root="2.999.7" extension="S1"/>'
        f"{product}</participantRole></participant></procedure>"
    )
    number = '<specimen><specimenRole><id root="2.999.7" extension="S1"/></specimenRole></specimen>'
    held = related(taking) + related(organizer(hemoglobin(), coded=PANEL, more=number))
    done = of(f'<act classCode="ACT" moodCode="EVN">{code("18719-5")}{held}</act>', "18719-5")
    sample = one(done, "Specimen")
    assert len(sample["identifier"]) == 1
    assert sample["collection"]["collectedDateTime"] == "2026-02-28T08:00:00+01:00"
    reference = {"reference": f"Specimen/{sample['id']}"}
    assert one(done, "Observation")["specimen"] == reference
    assert one(done, "DiagnosticReport")["specimen"] == [reference]
    assert every(done, "Procedure") == []


def test_a_specimen_told_of_in_two_panels_is_one() -> None:
    both = organizer(hemoglobin(), coded=PANEL, more=specimen("S1")) + organizer(
        measured("2345-7", "90", "mg/dL"), coded=code("24323-8"), more=specimen("S1")
    )
    done = of(both)
    assert len(every(done, "Specimen")) == 1
    assert len(every(done, "DiagnosticReport")) == 2


def test_a_panel_that_was_denied_is_refused_with_its_results() -> None:
    done = of(organizer(hemoglobin(), coded=PANEL).replace("<organizer", '<organizer negationInd="true"', 1))
    assert every(done, "DiagnosticReport") == every(done, "Observation") == []
    assert {said for _, said in outcomes(done)} == {"unsupported"}


def test_a_panel_within_a_panel_is_an_observation_of_its_members() -> None:
    isolate = organizer(measured("18906-8", "1", "mg/L"), coded=code("600-7"))
    done = of(organizer(isolate, coded=PANEL))
    inner, outer = every(done, "Observation")
    assert outer["hasMember"] == [{"reference": f"Observation/{inner['id']}"}]
    assert one(done, "DiagnosticReport")["result"] == [{"reference": f"Observation/{outer['id']}"}]


def test_the_laboratory_stands_where_a_result_names_nobody() -> None:
    laboratory = (
        '<performer><assignedEntity><id root="2.999.8" extension="LAB"/><representedOrganization>'
        '<id root="2.999.8" extension="LAB"/><name>Example Laboratory</name></representedOrganization></assignedEntity>'
        "</performer>"
    )
    done = of(organizer(hemoglobin(), coded=PANEL, more=laboratory))
    assert one(done, "Observation")["performer"] == one(done, "DiagnosticReport")["performer"]
    assert one(done, "Observation")["performer"][0]["display"] == "Example Laboratory"


@pytest.mark.parametrize(("written", "issued"), [("20260228170500+0100", "2026-02-28T17:05:00+01:00"),
                                                 ("20260228", None), ("", None)])  # fmt: skip
def test_issued_is_when_it_was_written_down_if_that_is_an_instant(written: str, issued: str | None) -> None:
    assigned = '<assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor>'
    author = f'<author><time value="{written}"/>{assigned}</author>'
    done = of(organizer(hemoglobin(more=author), coded=PANEL))
    assert one(done, "Observation").get("issued") == issued
    assert "issued" not in one(done, "DiagnosticReport")


def test_comments_stay_with_what_they_are_of() -> None:
    def comment(text: str) -> str:
        return f'<act classCode="ACT" moodCode="EVN">{code("48767-8")}<text>{text}</text></act>'

    done = of(organizer(hemoglobin(more=related(comment("Mine"), "SUBJ")), comment("Ours"), coded=PANEL))
    assert one(done, "Observation")["note"] == [{"text": "Mine"}]
    note = one(done, "DiagnosticReport")["extension"][0]
    assert (note["url"], note["valueAnnotation"]["text"]) == ("http://hl7.org/fhir/StructureDefinition/note", "Ours")
    assert [said for _, said in outcomes(done)] == ["mapped"] * 4


def test_what_a_result_derives_from_is_presented_by_its_report() -> None:
    pdf = '<value xsi:type="ED" mediaType="application/pdf" representation="B64">JVBERi0xLjQK</value>'
    report = one(of(organizer(observation(code("36643-5"), pdf), coded=PANEL)), "DiagnosticReport")
    assert report["presentedForm"][0]["data"] == "JVBERi0xLjQK"


def test_two_results_of_one_identity_keep_their_own_documents() -> None:
    pdf = '<value xsi:type="ED" mediaType="application/pdf" representation="B64">{}</value>'
    one_, other = (observation(code("36643-5"), pdf.format(each)) for each in ("JVBERi0xLjQK", "JVBERi0xLjUK"))
    done = of(organizer(one_, other, coded=PANEL))
    data = {
        document["content"][0]["attachment"].get("data")
        for document in every(done, "DocumentReference")
        if "masterIdentifier" not in document
    }
    assert data == {"JVBERi0xLjQK", "JVBERi0xLjUK"}
    assert len(every(done, "Observation")) == 2


# category -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coded", "more", "service", "category"),
    [
        (PANEL, "", "LAB", "laboratory"),
        (code("71020", 'codeSystem="2.16.840.1.113883.6.12"'), "", "RAD", "imaging"),
        (code("18725-2"), "", "MB", "laboratory"),
        (PANEL, '<sdtc:category code="RAD" codeSystem="2.16.840.1.113883.18.29"/>', "RAD", "imaging"),
    ],
)
def test_what_service_a_panel_is_of(coded: str, more: str, service: str, category: str) -> None:
    done = of(organizer(hemoglobin(), coded=more + coded))
    assert one(done, "DiagnosticReport")["category"][0]["coding"][0]["code"] == service
    assert one(done, "Observation")["category"][0]["coding"][0]["code"] == category


@pytest.mark.parametrize(
    ("system", "sent", "expected"),
    [("2.16.840.1.113883.6.12", "79999", "RAD"), ("2.16.840.1.113883.6.12", "80047", ""),
     ("2.16.840.1.113883.6.12", "7", ""), ("2.16.840.1.113883.6.1", "71020", ""), ("", "18748-4", "")],
)  # fmt: skip
def test_a_service_is_told_by_system_and_code_together(system: str, sent: str, expected: str) -> None:
    assert service_of(system, sent) == expected


# ranges and interpretations -------------------------------------------------------------------------------------------


def ranged(*ranges: str) -> list[Json]:
    more = "".join(f"<referenceRange><observationRange>{each}</observationRange></referenceRange>" for each in ranges)
    found: list[Json] = one(of(hemoglobin(more=more)), "Observation")["referenceRange"]
    return found


INTERVAL = '<value xsi:type="IVL_PQ"><low value="12.0" unit="g/dL"/><high value="16.0" unit="g/dL"/></value>'


def meaning(coded: str) -> str:
    return f'<interpretationCode code="{coded}" {INTERPRETATION}/>'


def test_reference_ranges_and_interpretation() -> None:
    """Of several ranges only the normal one is the range, the others are text; every interpretation is kept."""
    normal, low, words = ranged(
        INTERVAL + meaning("N"), f"<text>Critical</text>{INTERVAL}" + meaning("LL"), "<text>12 to 16 in adults</text>"
    )
    assert normal["low"] == {"value": Decimal("12.0"), **UNITS}
    assert normal["high"] == {"value": Decimal("16.0"), **UNITS}
    assert low.keys() == {"type", "text"}
    assert low["text"] == "Critical: 12.0 g/dL - 16.0 g/dL"
    assert words == {"text": "12 to 16 in adults"}
    both = hemoglobin(more=meaning("L") + meaning("D"))
    found = one(of(both), "Observation")["interpretation"]
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    assert [each["coding"][0] for each in found] == [{"system": system, "code": "L"}, {"system": system, "code": "D"}]


def test_a_range_without_a_meaning_is_the_range() -> None:
    (found,) = ranged(INTERVAL)
    assert "low" in found
    assert "high" in found


def test_an_open_range_has_one_end() -> None:
    (found,) = ranged('<value xsi:type="IVL_PQ"><high value="16" unit="g/dL"/></value>' + meaning("N"))
    assert found["high"] == {"value": Decimal(16), **UNITS}
    assert "low" not in found


@pytest.mark.parametrize("shape", [
    '<sdtc:precondition1><sdtc:criterion1><sdtc:value xsi:type="IVL_PQ">{}</sdtc:value></sdtc:criterion1>'
    "</sdtc:precondition1>",
    '<lab:precondition xmlns:lab="urn:oid:1.3.6.1.4.1.19376.1.3.2"><lab:criterion>'
    '<lab:value xsi:type="IVL_PQ">{}</lab:value></lab:criterion></lab:precondition>',
])  # fmt: skip
def test_of_what_age_a_range_holds(shape: str) -> None:
    (found,) = ranged(INTERVAL + shape.format('<low value="18" unit="a"/><high value="65" unit="a"/>'))
    assert (found["age"]["low"]["value"], found["age"]["high"]["value"]) == (Decimal(18), Decimal(65))


def test_an_age_from_more_to_less_is_none() -> None:
    """rng-2."""
    shape = '<sdtc:precondition1><sdtc:criterion1><sdtc:value xsi:type="IVL_PQ">{}</sdtc:value></sdtc:criterion1>'
    ends = '<low value="65" unit="a"/><high value="18" unit="a"/>'
    (found,) = ranged(INTERVAL + shape.format(ends) + "</sdtc:precondition1>")
    assert "age" not in found
