"""Medications, orders, supplies: what is taken is never mixed up with what is not, and a dose is what was written.

Source: C-CDA R2.1 medication activity; C-CDA on FHIR, medications; IHE PCC TF-2 6.3.4.16; eHDSI medication items.
"""

from dataclasses import replace
from typing import Any

import pytest

from mappings.convert import Conversion, to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from tests.mappings.cda.converted import codes, convert, default, every, of_sections, one
from tests.mappings.cda.documents import in_section, minimal

Json = dict[str, Any]

PHARM = 'xmlns:pharm="urn:hl7-org:pharm"'
EPSOS = 'xmlns:pharm="urn:epsos-org:ep:medication"'
ASPIRIN = '<code code="1191" codeSystem="2.16.840.1.113883.6.88" displayName="aspirin"/>'
ANY_DRUG = '<code nullFlavor="OTH"><translation code="410942007" codeSystem="2.16.840.1.113883.6.96"/></code>'
STATUS = '<statusCode code="active"/>'


def product(material: str = ASPIRIN, around: str = "", holder: str = "consumable") -> str:
    return (
        f"<{holder}><manufacturedProduct>{around}<manufacturedMaterial>{material}</manufacturedMaterial>"
        f"</manufacturedProduct></{holder}>"
    )


def given(content: str = "", *, mood: str = "EVN", attributes: str = "", material: str | None = ASPIRIN) -> str:
    """A substanceAdministration."""
    what = "" if material is None else product(material)
    start = f'<substanceAdministration classCode="SBADM" moodCode="{mood}" {attributes}>'
    return f"{start}{content}{what}</substanceAdministration>"


def related(statement: str, kind: str = "REFR") -> str:
    return f'<entryRelationship typeCode="{kind}">{statement}</entryRelationship>'


def supplied(content: str = "", *, mood: str = "INT", attributes: str = "") -> str:
    return f'<supply classCode="SPLY" moodCode="{mood}" {attributes}>{content}</supply>'


def entries(*statements: str, section: str = "10160-0") -> Conversion:
    return of_sections((section, "".join(f"<entry>{each}</entry>" for each in statements)))


def request(content: str = STATUS, **how: Any) -> Json:
    return one(entries(given(content, **how)), "MedicationRequest")


def dosage(content: str, **how: Any) -> Json:
    (found,) = request(STATUS + content, **how)["dosageInstruction"]
    return dict(found)


def as_statements(data: bytes) -> Conversion:
    """By a profile that wants statements."""
    profile = default()
    done = to_fhir(data, replace(profile, cda=replace(profile.cda, medication="statement")))
    assert [fault for m in done.resources for fault in validate(m.body)] == []
    return done


# mood, status, negation -----------------------------------------------------------------------------------------------

MOODS = [("EVN", "plan"), ("INT", "order"), ("RQO", "order"), ("PRP", "proposal"), ("PRMS", "plan")]
STATUSES = [
    ("active", "active"), ("completed", "completed"), ("aborted", "stopped"), ("suspended", "on-hold"),
    ("held", "on-hold"), ("cancelled", "cancelled"), ("new", "draft"), ("nullified", "entered-in-error"),
    ("invented", "unknown"), ("", "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("mood", "intent"), MOODS)
def test_medication_mood_and_status(mood: str, intent: str) -> None:
    """What a list says is taken was ordered by nobody; an order was."""
    assert request(mood=mood)["intent"] == intent


@pytest.mark.parametrize(("code", "status"), STATUSES)
def test_every_status_has_its_own(code: str, status: str) -> None:
    assert request(f'<statusCode code="{code}"/>' if code else "")["status"] == status


FUTURE = [
    ('<low value="20260101"/><high value="20261231"/>', "active"),
    ('<low value="20260101"/><high value="20260227"/>', "completed"),
    ('<low value="20260101"/><high value="202603011300+0100"/>', "active"),
    ('<low value="20260101"/><high value="202603011100+0100"/>', "completed"),
    ('<low value="20260101"/><high nullFlavor="UNK"/>', "completed"),
    ('<low value="20260101"/>', "completed"),
]


@pytest.mark.parametrize(("bounds", "status"), FUTURE)
def test_what_was_written_as_completed_is_active_while_it_goes_on(bounds: str, status: str) -> None:
    """Measured against the document's own time, 1 March 2026 at noon: the core has no clock."""
    content = f'<statusCode code="completed"/><effectiveTime>{bounds}</effectiveTime>'
    assert request(content)["status"] == status


def test_an_end_to_come_revives_nothing_but_the_completed() -> None:
    content = '<statusCode code="aborted"/><effectiveTime><high value="20991231"/></effectiveTime>'
    assert request(content)["status"] == "stopped"


WRAPPED = (
    '<act classCode="ACT" moodCode="EVN" negationInd="true"><code code="10183-2" codeSystem="2.16.840.1.113883.6.1"/>'
    "{}</act>"
)
FORMS = [
    pytest.param("{}", 'negationInd="true"', id="statement"),
    pytest.param("{}", 'negationInd="1"', id="one"),
    pytest.param(WRAPPED, "", id="wrapper"),
]


@pytest.mark.parametrize(("around", "attributes"), FORMS)
def test_negation_is_never_lost(around: str, attributes: str) -> None:
    """Whatever its status and whatever the profile asks for, at the statement or at what is around it."""
    inner = given('<statusCode code="active"/>', attributes=attributes)
    statement = around.format(related(inner, "SUBJ") if "act" in around else inner)
    for done in (entries(statement), as_statements(minimal(in_section(f"<entry>{statement}</entry>", "10160-0")))):
        assert every(done, "MedicationRequest") == []
        assert one(done, "MedicationStatement")["status"] == "not-taken"


@pytest.mark.parametrize("mood", ["INT", "RQO", "PRP"])
def test_an_order_not_to_give_is_no_refusal(mood: str) -> None:
    done = entries(given(STATUS, mood=mood, attributes='negationInd="true"'))
    found = one(done, "MedicationRequest")
    assert found["doNotPerform"] is True
    assert every(done, "MedicationStatement") == []


def test_an_order_to_give_does_not_say_that_it_is_not_one() -> None:
    assert "doNotPerform" not in request(mood="INT", attributes='negationInd="false"')


def test_a_negated_supply_is_told_and_not_turned_round() -> None:
    done = entries(supplied(product(holder="product"), mood="EVN", attributes='negationInd="true"'))
    assert every(done, "MedicationDispense") == every(done, "MedicationRequest") == []
    assert "unsupported-statement" in codes(done)
    assert [outcome.outcome for outcome in done.tally] == ["unsupported"]


def test_a_negated_supply_is_not_what_an_order_asks_for() -> None:
    supply = supplied('<quantity value="30"/>', attributes='negationInd="true"')
    done = entries(given(STATUS + related(supply), mood="INT"))
    assert "dispenseRequest" not in one(done, "MedicationRequest")
    assert "unsupported-statement" in codes(done)


def test_why_it_was_not_taken_is_no_reason_to_take_it() -> None:
    reason = '<observation classCode="OBS"><code code="PATOBJ" codeSystem="2.16.840.1.113883.5.8"/></observation>'
    found = one(entries(given(related(reason, "RSON"), attributes='negationInd="true"')), "MedicationStatement")
    assert found["statusReason"][0]["coding"][0]["code"] == "PATOBJ"
    assert "reasonCode" not in found


# absence --------------------------------------------------------------------------------------------------------------

ABSENT = "2.16.840.1.113883.5.1150.1"
NONE = [
    pytest.param(given(material=ANY_DRUG, attributes='negationInd="true"'), id="negated, any drug"),
    pytest.param(given(material='<code nullFlavor="NI"/>', attributes='negationInd="true"'), id="negated, null"),
    pytest.param(given(material=None, attributes='negationInd="true"'), id="negated, no product"),
    pytest.param(given(material=ANY_DRUG, attributes='negationInd="true"', mood="INT"), id="negated order of any drug"),
    pytest.param(
        given(f'<code code="no-known-medications" codeSystem="{ABSENT}"/>', material=None, mood="INT"), id="eHDSI"
    ),
    pytest.param(given(f'<code code="no-known-medication" codeSystem="{ABSENT}"/>', material=None), id="singular"),
    pytest.param(given(material=f'<code code="no-known-medications" codeSystem="{ABSENT}"/>'), id="as the product"),
    pytest.param(given('<code code="182849000" codeSystem="2.16.840.1.113883.6.96"/>', material=None), id="epSOS"),
]


@pytest.mark.parametrize("statement", NONE)
def test_no_known_and_no_information_differ_known(statement: str) -> None:
    done = entries(statement)
    found = one(done, "MedicationStatement")
    assert found["medicationCodeableConcept"]["coding"][0]["code"] == "787481004"
    assert found["status"] == "active"
    assert every(done, "MedicationRequest") == []
    assert "dosage" not in found


UNKNOWN = [
    pytest.param(given(f'<code code="no-medication-info" codeSystem="{ABSENT}"/>', material=None), id="eHDSI"),
    pytest.param(given('<code code="182904002" codeSystem="2.16.840.1.113883.6.96"/>', material=None), id="epSOS"),
    pytest.param(given(material=None, attributes='nullFlavor="NI"'), id="a statement of nothing"),
]


@pytest.mark.parametrize("statement", UNKNOWN)
def test_no_known_and_no_information_differ_unknown(statement: str) -> None:
    done = entries(statement)
    assert [kind for kind in ("MedicationStatement", "MedicationRequest") if every(done, kind)] == []
    assert one(done, "Composition")["section"][0]["emptyReason"]["coding"][0]["code"] == "unavailable"
    assert [outcome.outcome for outcome in done.tally] == ["mapped"]


def test_a_drug_that_only_its_name_tells_is_a_drug() -> None:
    """Denying it does not say that there are none."""
    for material in ("<name>Senna</name>", '<code nullFlavor="UNK"><originalText>Senna</originalText></code>'):
        found = one(entries(given(material=material, attributes='negationInd="true"')), "MedicationStatement")
        assert found["status"] == "not-taken"
        assert found["medicationCodeableConcept"] == {"text": "Senna"}


def test_a_drug_of_which_nobody_knows_the_name_is_not_none() -> None:
    assert request(material='<code nullFlavor="UNK"/>')["medicationCodeableConcept"] == {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }


def test_the_words_of_a_statement_name_a_drug_without_a_code() -> None:
    found = request("<text>Experimental pill</text>", material='<code nullFlavor="UNK"/>')
    assert found["medicationCodeableConcept"] == {"text": "Experimental pill"}


# statements by profile ------------------------------------------------------------------------------------------------


def test_a_profile_may_want_statements_of_what_is_taken() -> None:
    adherence = '<observation classCode="OBS"><code code="71799-1"/><value xsi:type="CD" code="1"/></observation>'
    content = '<statusCode code="cancelled"/><effectiveTime><low value="20260101"/></effectiveTime>' + related(
        adherence, "COMP"
    )
    body = in_section(f"<entry>{given(content)}</entry><entry>{given(STATUS, mood='INT')}</entry>", "10160-0")
    done = as_statements(minimal(body))
    found = one(done, "MedicationStatement")
    assert found["status"] == "not-taken"
    assert found["effectivePeriod"] == {"start": "2026-01-01"}
    assert one(done, "MedicationRequest")["intent"] == "order"


def test_a_statement_is_active_while_it_goes_on_too() -> None:
    content = '<statusCode code="completed"/><effectiveTime><high value="20991231"/></effectiveTime>'
    done = as_statements(minimal(in_section(f"<entry>{given(content)}</entry>", "10160-0")))
    assert one(done, "MedicationStatement")["status"] == "active"


# dosage ---------------------------------------------------------------------------------------------------------------

BOUNDS = '<effectiveTime {}><low value="20260101"/><high value="20260110"/></effectiveTime>'
EVERY = '<effectiveTime {} operator="A"{}><period value="12" unit="h"/></effectiveTime>'
ORDERS = [
    pytest.param(BOUNDS.format('xsi:type="IVL_TS"') + EVERY.format('xsi:type="PIVL_TS"', ""), id="as written"),
    pytest.param(EVERY.format('xsi:type="PIVL_TS"', "") + BOUNDS.format('xsi:type="IVL_TS"'), id="swapped"),
    pytest.param(BOUNDS.format("") + EVERY.format("", ""), id="no types"),
]


@pytest.mark.parametrize("times", ORDERS)
def test_effective_time_is_a_list(times: str) -> None:
    assert dosage(times)["timing"]["repeat"] == {
        "boundsPeriod": {"start": "2026-01-01", "end": "2026-01-10"},
        "frequency": 1,
        "period": 12,
        "periodUnit": "h",
    }


def test_twice_a_day_is_not_every_twelve_hours() -> None:
    repeat = dosage(EVERY.format('xsi:type="PIVL_TS"', ' institutionSpecified="true"'))["timing"]["repeat"]
    assert (repeat["frequency"], repeat["period"], repeat["periodUnit"]) == (2, 1, "d")


DOSES = [
    ('<doseQuantity value="1"/>', {"doseQuantity": {"value": 1}}),
    (
        '<doseQuantity><low value="1"/><high value="2"/></doseQuantity>',
        {"doseRange": {"low": {"value": 1}, "high": {"value": 2}}},
    ),
    ('<rateQuantity value="90" unit="mL/min"/>', {"rateQuantity": {"value": 90, "unit": "mL/min"}}),
]


@pytest.mark.parametrize(("written", "said"), DOSES)
def test_a_dose_is_what_was_written_and_no_unit_is_invented(written: str, said: Json) -> None:
    (found,) = dosage(written)["doseAndRate"]
    plain = {name: {k: v for k, v in value.items() if k not in ("system", "code")} for name, value in found.items()}
    assert plain == said


@pytest.mark.parametrize("written", ['<doseQuantity nullFlavor="UNK"/>', '<doseQuantity value="two"/>', ""])
def test_a_dose_that_nobody_wrote_is_none(written: str) -> None:
    assert "doseAndRate" not in dosage(written + '<routeCode code="C38288" codeSystem="2.16.840.1.113883.3.26.1.1"/>')


PRN = '<precondition typeCode="PRCN"><criterion>{}</criterion></precondition>'
NEEDED = [
    ('<value xsi:type="CD" nullFlavor="NI"/>', {"asNeededBoolean": True}),
    ("", {"asNeededBoolean": True}),
    ('<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>', {"asNeededBoolean": True}),
    ("<text>when it hurts</text>", {"asNeededCodeableConcept": {"text": "when it hurts"}}),
]


@pytest.mark.parametrize(("criterion", "said"), NEEDED)
def test_what_is_taken_when_needed_says_so(criterion: str, said: Json) -> None:
    found = dosage(PRN.format(criterion))
    assert {name: value for name, value in found.items() if name.startswith("asNeeded")} == said


def test_several_reasons_to_need_it_are_one_text() -> None:
    cough, pain = (f'<value xsi:type="CD" code="{each}" displayName="{each}"/>' for each in ("Cough", "Pain"))
    done = entries(given(STATUS + PRN.format(cough) + PRN.format(pain)))
    assert one(done, "MedicationRequest")["dosageInstruction"][0]["asNeededCodeableConcept"] == {"text": "Cough; Pain"}
    assert "extra-value" in codes(done)


def test_doses_that_change_are_a_dosage_each() -> None:
    """Statements inside that name no product: a tapering course. One that names another product is its own."""
    step = '<effectiveTime><low value="2026010{0}"/></effectiveTime><doseQuantity value="{0}"/>'
    steps = "".join(related(given(step.format(n), mood="INT", material=None), "COMP") for n in (2, 1))
    other = related(
        given(STATUS, mood="INT", material='<code code="999" codeSystem="2.16.840.1.113883.6.88"/>'), "COMP"
    )
    route = '<routeCode code="C38288" codeSystem="2.16.840.1.113883.3.26.1.1"/>'
    first, second = every(entries(given(STATUS + route + steps + other, mood="INT")), "MedicationRequest")
    assert [each["doseAndRate"][0]["doseQuantity"]["value"] for each in first["dosageInstruction"]] == [2, 1]
    assert [each["sequence"] for each in first["dosageInstruction"]] == [1, 2]
    assert all("route" in each for each in first["dosageInstruction"])
    assert second["medicationCodeableConcept"]["coding"][0]["code"] == "999"


def test_a_step_that_is_denied_is_no_step() -> None:
    step = given('<doseQuantity value="7"/>', mood="INT", material=None, attributes='negationInd="true"')
    for body in every(entries(given(STATUS + related(step, "COMP"), mood="INT")), "MedicationRequest"):
        assert "doseAndRate" not in body.get("dosageInstruction", [{}])[0]


def test_instructions_reach_who_they_are_for() -> None:
    act = '<act classCode="ACT" moodCode="INT">{}<code code="{}"/><text>{}</text></act>'
    tid = '<templateId root="2.16.840.1.113883.10.20.22.4.20"/>'
    content = (
        related(act.format(tid, "409073007", "With food."), "SUBJ")
        + related(act.format("", "PINSTRUCT", "Before noon."), "SUBJ")
        + related(act.format("", "FINSTRUCT", "Large label."), "SUBJ")
        + related(act.format("", "48767-8", "She agreed."), "SUBJ")
    )
    found = request(STATUS + content)
    assert found["dosageInstruction"] == [{"patientInstruction": "With food.\nBefore noon."}]
    assert [note["text"] for note in found["note"]] == ["She agreed.", "Large label."]


# supply ---------------------------------------------------------------------------------------------------------------

FILLS = [("1", 0), ("3", 2), ("0", 0)]


@pytest.mark.parametrize(("written", "allowed"), FILLS)
def test_the_first_fill_is_no_repeat(written: str, allowed: int) -> None:
    supply = supplied(f'<repeatNumber value="{written}"/>')
    found = one(entries(given(STATUS + related(supply), mood="INT")), "MedicationRequest")
    assert found["dispenseRequest"]["numberOfRepeatsAllowed"] == allowed


def test_a_supply_of_another_product_is_a_request_of_its_own() -> None:
    other = product('<code code="999" codeSystem="2.16.840.1.113883.6.88"/>', holder="product")
    done = entries(given(STATUS + related(supplied('<quantity value="5"/>' + other)), mood="INT"))
    first, second = every(done, "MedicationRequest")
    assert "dispenseRequest" not in first
    assert second["dispenseRequest"]["quantity"] == {"value": 5}
    assert second["basedOn"] == [{"reference": f"MedicationRequest/{first['id']}"}]


def test_of_two_supplies_none_is_lost() -> None:
    supplies = [supplied(f'<id root="2.999.5" extension="S{n}"/><quantity value="{n}"/>') for n in (5, 6)]
    done = entries(given(STATUS + "".join(related(each) for each in supplies), mood="INT"))
    found = sorted(body["dispenseRequest"]["quantity"]["value"] for body in every(done, "MedicationRequest"))
    assert found == [5, 6]


def test_a_supply_of_what_is_not_taken_is_not_an_order_inside_of_a_denial() -> None:
    done = entries(given(related(supplied('<quantity value="5"/>')), attributes='negationInd="true"'))
    assert one(done, "MedicationStatement")["status"] == "not-taken"
    assert one(done, "MedicationRequest")["dispenseRequest"]["quantity"] == {"value": 5}


def test_what_was_dispensed_refers_to_its_order_and_takes_its_product() -> None:
    dispensed = supplied('<statusCode code="completed"/><effectiveTime value="20260102"/>', mood="EVN")
    done = entries(given(STATUS + related(dispensed), mood="INT"))
    found = one(done, "MedicationDispense")
    order = one(done, "MedicationRequest")
    assert found["authorizingPrescription"] == [{"reference": f"MedicationRequest/{order['id']}"}]
    assert found["medicationCodeableConcept"] == order["medicationCodeableConcept"]
    assert (found["status"], found["whenHandedOver"]) == ("completed", "2026-01-02")


def test_who_dispensed_it_did_not_prescribe_it() -> None:
    pharmacist = (
        '<author><time value="20260102"/><assignedAuthor><id root="2.999.3" extension="PH"/><assignedPerson>'
        "<name><family>Pharmacist</family></name></assignedPerson></assignedAuthor></author>"
    )
    order = given(mood="INT")
    done = entries(supplied(product(holder="product") + pharmacist + related(order), mood="EVN"), section="60590-7")
    found = one(done, "MedicationRequest")
    assert "requester" not in found
    assert "authoredOn" not in found
    assert one(done, "MedicationDispense")["authorizingPrescription"] == [
        {"reference": f"MedicationRequest/{found['id']}"}
    ]


BARE = [
    '<consumable nullFlavor="NI"/>', "",
    "<consumable><manufacturedProduct><manufacturedMaterial/></manufacturedProduct></consumable>",
    '<consumable typeCode="CSM"><manufacturedProduct classCode="MANU"><templateId root="2.999.8"/>'
    '<manufacturedMaterial><code nullFlavor="NA"/><name/></manufacturedMaterial></manufacturedProduct></consumable>',
]  # fmt: skip


def dispensed(order: str) -> str:
    return supplied(product(holder="product") + related(order), mood="EVN")


@pytest.mark.parametrize("material", BARE)
def test_a_dispense_names_the_prescription_of_another_document_by_its_number(material: str) -> None:
    """A made-up order without a drug would be another one than the prescription that is stored."""
    order = f'<substanceAdministration moodCode="INT"><id root="2.999.5" extension="RX"/>{material}'
    parts = [dispensed(f"{order}</substanceAdministration>").replace("<product>", f'<quantity value="{n}"/><product>')
             for n in (1, 2)]  # fmt: skip
    done = entries(*parts, section="60590-7")
    assert every(done, "MedicationRequest") == []
    assert len(every(done, "MedicationDispense")) == 2
    for each in every(done, "MedicationDispense"):
        assert each["authorizingPrescription"] == [{"identifier": {"system": "urn:oid:2.999.5", "value": "RX"}}]


@pytest.mark.parametrize("later", [False, True])
def test_a_dispense_refers_to_the_prescription_that_the_document_states(later: bool) -> None:
    order = f'<substanceAdministration moodCode="INT"><id root="2.999.5" extension="RX"/>{BARE[2]}'
    stated = given('<id root="2.999.5" extension="RX"/>' + STATUS, mood="INT")
    both = [stated, dispensed(f"{order}</substanceAdministration>")]
    done = entries(*(reversed(both) if later else both))
    assert one(done, "MedicationDispense")["authorizingPrescription"] == [
        {"reference": f"MedicationRequest/{one(done, 'MedicationRequest')['id']}"}
    ]


SUBSTITUTED = [("", True), ('negationInd="true"', False)]


@pytest.mark.parametrize(("attributes", "said"), SUBSTITUTED)
def test_whether_it_was_substituted_may_be_denied(attributes: str, said: bool) -> None:
    act = f'<act classCode="ACT" moodCode="EVN" {attributes}><code code="SUBST"/></act>'
    done = entries(supplied(product(holder="product") + related(act, "COMP"), mood="EVN"))
    assert one(done, "MedicationDispense")["substitution"] == {"wasSubstituted": said}


# products -------------------------------------------------------------------------------------------------------------

STRENGTH = (
    '<pharm:quantity><pharm:numerator xsi:type="PQ" value="100" unit="ug"/>'
    '<pharm:denominator xsi:type="PQ" value="1" unit="1"/></pharm:quantity>'
)
ATC = '<pharm:code code="H03AA01" codeSystem="2.16.840.1.113883.6.73"/>'
NAMESPACES = [
    pytest.param(PHARM, "ingredientSubstance", "containerPackagedProduct", id="pharm"),
    pytest.param(EPSOS, "ingredient", "containerPackagedMedicine", id="epsos"),
]


@pytest.mark.parametrize(("namespace", "substance", "container"), NAMESPACES)
def test_both_pharmacy_namespaces_say_the_same(namespace: str, substance: str, container: str) -> None:
    material = (
        f'<name>Brand</name><pharm:formCode code="10219000" codeSystem="0.4.0.127.0.16.1.1.2.1"><pharm:originalText>'
        f"comprim&#233;</pharm:originalText></pharm:formCode><pharm:asContent><pharm:quantity value='30' unit='1'/>"
        f"<pharm:{container}><pharm:formCode code='30007000' codeSystem='0.4.0.127.0.16.1.1.2.1'/></pharm:{container}>"
        f"</pharm:asContent><pharm:ingredient classCode='ACTI'>{STRENGTH}<pharm:{substance}>{ATC}</pharm:{substance}>"
        "</pharm:ingredient>"
    )
    found = request(STATUS, material=material, attributes=namespace)
    (medication,) = found["contained"]
    assert found["medicationReference"] == {"reference": f"#{medication['id']}"}
    assert medication["code"] == {"text": "Brand"}
    assert medication["form"]["text"] == "comprimé"
    assert medication["amount"]["numerator"]["value"] == 30
    (ingredient,) = medication["ingredient"]
    assert ingredient["itemCodeableConcept"]["coding"][0]["code"] == "H03AA01"
    assert (ingredient["isActive"], ingredient["strength"]["numerator"]["value"]) == (True, 100)


def test_a_product_of_a_code_alone_is_a_concept() -> None:
    found = request()
    assert "contained" not in found
    assert found["medicationCodeableConcept"]["coding"][0]["code"] == "1191"


def test_packages_around_packages_keep_their_order_and_come_to_an_end() -> None:
    container = "pharm:containerPackagedProduct"
    content = "<pharm:quantity value='{0}' unit='1'/>" + f"<{container}>{{1}}</{container}>"
    inner = f"<pharm:asContent>{content}</pharm:asContent>"
    nested = ""
    for n in range(20, 0, -1):
        nested = inner.format(n, nested)
    (medication,) = request(material=ASPIRIN + nested, attributes=PHARM)["contained"]
    counted, level = [], medication["extension"][0]
    while level is not None:
        counted.append(next(each["valueQuantity"]["value"] for each in level["extension"] if each["url"] == "quantity"))
        level = next((each for each in level["extension"] if each["url"] == level["url"]), None)
    assert counted == list(range(1, 9))
    assert medication["amount"]["numerator"]["value"] == 1


def test_a_name_is_kept_beside_the_words_for_a_code() -> None:
    material = '<code code="1191"><originalText>aspirin 81 mg</originalText></code><name>Brand</name>'
    assert request(material=material)["medicationCodeableConcept"]["text"] == "aspirin 81 mg (Brand)"


# around ---------------------------------------------------------------------------------------------------------------

PROBLEM = (
    '<observation classCode="OBS" moodCode="EVN"><id root="2.999.5" extension="{}"/><code code="55607006"/>'
    '<value xsi:type="CD" code="{}" codeSystem="2.16.840.1.113883.6.96"/></observation>'
)


@pytest.mark.parametrize(("code", "linked"), [("38341003", True), ("195967001", False)])
def test_a_reason_is_the_problem_of_the_same_number_that_says_the_same(code: str, linked: bool) -> None:
    """Wherever the problem list stands: generators use one number for all of their statements."""
    medications = ("10160-0", f"<entry>{given(STATUS + related(PROBLEM.format('P', code), 'RSON'))}</entry>")
    problems = ("11450-4", f"<entry>{PROBLEM.format('P', '38341003')}</entry>")
    for order in ((medications, problems), (problems, medications)):
        done = of_sections(*order)
        found = one(done, "MedicationRequest")
        reference = [{"reference": f"Condition/{one(done, 'Condition')['id']}"}]
        assert found.get("reasonReference", []) == (reference if linked else [])
        assert found["reasonCode"][0]["coding"][0]["code"] == code


def test_a_reason_that_only_points_somewhere_keeps_its_number() -> None:
    pointer = (
        '<act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.122"/>'
        '<id root="2.999.5" extension="ELSEWHERE"/><code nullFlavor="NP"/></act>'
    )
    (found,) = request(STATUS + related(pointer, "RSON"))["reasonReference"]
    assert found == {"identifier": {"system": "urn:oid:2.999.5", "value": "ELSEWHERE"}}


def test_a_reaction_to_a_drug_is_no_allergy() -> None:
    reaction = (
        '<observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.9"/>'
        '<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/><statusCode code="completed"/>'
        '<value xsi:type="CD" code="422587007" codeSystem="2.16.840.1.113883.6.96"/></observation>'
    )
    done = entries(given(STATUS + related(reaction, "CAUS")))
    assert every(done, "AllergyIntolerance") == []
    assert one(done, "Observation")["code"]["coding"][0]["code"] == "422587007"


def test_the_author_of_the_document_prescribes_nothing_but_prescriptions() -> None:
    statement = f"<entry>{given(STATUS, mood='INT')}</entry>"
    author = (
        '<author><time value="20260301"/><assignedAuthor><id root="2.999.3" extension="A"/><assignedPerson><name>'
        "<family>Sample</family></name></assignedPerson></assignedAuthor></author>"
    )
    listed = one(of_sections(("10160-0", statement), author=author), "MedicationRequest")
    prescribed = one(of_sections(("57828-6", statement), author=author), "MedicationRequest")
    assert "requester" not in listed
    assert prescribed["requester"]["display"] == "Sample"
    assert prescribed["authoredOn"] == "2026-03-01"


SECTIONS = [("10183-2", "discharge"), ("42346-7", "community")]


@pytest.mark.parametrize(("section", "category"), SECTIONS)
def test_a_section_says_where_it_is_taken(section: str, category: str) -> None:
    found = one(entries(given(STATUS), section=section), "MedicationRequest")
    assert found["category"][0]["coding"][0]["code"] == category


def test_everything_a_statement_holds_has_an_outcome() -> None:
    content = STATUS + related(supplied(mood="EVN")) + related(PROBLEM.format("P", "1"), "RSON")
    done = entries(given(content, mood="INT"))
    assert len(done.tally) == 3
    assert {outcome.outcome for outcome in done.tally} == {"mapped"}


HOSTILE = [
    given(STATUS + "<effectiveTime/>" * 50),
    given("".join(related(given(material=None), "COMP") for _ in range(30))),
    given(PRN.format("<value/>") + "<precondition/>"),
    given(material="<code/><name/>"),
    given(material=None, attributes='moodCode2="EVN" nullFlavor="ZZZ"'),
    supplied("<quantity value='x'/><repeatNumber value='-4'/><effectiveTime value='99999999'/>"),
    supplied(related(supplied(related(supplied(mood="EVN"))), "REFR"), mood="EVN"),
    "<substanceAdministration/>",
    "<supply/>",
]


@pytest.mark.parametrize("statement", HOSTILE)
def test_nothing_that_a_stranger_writes_breaks_a_document(statement: str) -> None:
    done = convert(minimal(in_section(f"<entry>{statement}</entry>", "10160-0")))
    assert "entry-failed" not in codes(done)
    assert [broken(m.body) for m in done.resources if broken(m.body)] == []


def test_what_was_taken_before_admission_and_is_said_twice_is_one() -> None:
    """R4's MedicationStatement has one category: once the second cost both."""
    twice = f"<entry>{given(STATUS)}</entry>" * 2
    done = as_statements(minimal(in_section(twice, "42346-7")))
    assert one(done, "MedicationStatement")["category"]["coding"][0]["code"] == "community"
    assert [outcome.outcome for outcome in done.tally] == ["mapped", "merged"]


@pytest.mark.parametrize(("denied", "asked"), [("", ["active"]), ('negationInd="true"', [])])
def test_what_is_not_to_be_watched_is_no_request_to_watch_it(denied: str, asked: list[str]) -> None:
    """A denied act is refused, as every denied act but a plan's own: its words stand in the narrative."""
    act = f"""<entryRelationship typeCode="COMP"><act classCode="ACT" moodCode="INT" {denied}>
      <templateId root="2.16.840.1.113883.10.20.22.4.123"/><code code="395170001"/><statusCode code="active"/></act>
      </entryRelationship>"""
    done = of_sections(("10160-0", f"<entry>{given(act)}</entry>"))
    assert [each["status"] for each in every(done, "ServiceRequest")] == asked
    assert ("unsupported-statement" in codes(done)) is bool(denied)
    assert one(done, "MedicationRequest")["status"] != "stopped"
