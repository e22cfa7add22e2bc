"""Payers: who pays, for whom, by which policy and in which order; and what was promised is no care that was planned.

Source: C-CDA R2.1 and 5.0 coverage activity, policy activity, authorization activity; CCD R1 payers.
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes
from tests.mappings.cda.plans import PAYERS, entry, related

Json = dict[str, Any]
CCDA = "2.16.840.1.113883.10.20.22.4."
INSURANCE = """<performer typeCode="PRF"><assignedEntity><id root="2.999.6" extension="INS"/>
  <code code="PAYOR" codeSystem="2.16.840.1.113883.5.110"/><representedOrganization><name>Example Insurance</name>
  </representedOrganization></assignedEntity></performer>"""
GUARANTOR = """<performer typeCode="PRF"><assignedEntity><id root="2.999.3" extension="G"/>
  <code code="GUAR" codeSystem="2.16.840.1.113883.5.110"/><assignedPerson><name><given>Ken</given></name>
  </assignedPerson></assignedEntity></performer>"""
HOLDER = """<participant typeCode="HLD"><participantRole><id root="2.999.6" extension="SUB"/><playingEntity><name>
  <given>Ken</given></name></playingEntity></participantRole></participant>"""
AUTHORIZATION = """<act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.1.19"/>
  <id root="2.999.6" extension="AUTH"/><code nullFlavor="NA"/><entryRelationship typeCode="SUBJ">
  <procedure classCode="PROC" moodCode="PRMS"><code code="73761001" codeSystem="2.16.840.1.113883.6.96"
  displayName="Colonoscopy"/></procedure></entryRelationship></act>"""


def covered(code: str = "SELF") -> str:
    return f"""<participant typeCode="COV"><time><low value="20250101"/><high value="20271231"/></time><participantRole>
      <id root="2.999.6" extension="MEM"/><code code="{code}" codeSystem="2.16.840.1.113883.5.111"/></participantRole>
      </participant>"""


def policy(content: str, *, number: str = "POL", attributes: str = "", version: str = "2015-08-01") -> str:
    return f"""<act classCode="ACT" moodCode="EVN" {attributes}><templateId root="{CCDA}61" extension="{version}"/>
      <id root="2.999.6" extension="{number}"/><code code="1" codeSystem="2.16.840.1.113883.3.221.5"/>
      <statusCode code="completed"/>{content}</act>"""


def payers(*policies: str, attributes: str = "") -> Conversion:
    held = "".join(
        f'<entryRelationship typeCode="COMP"><sequenceNumber value="{n}"/>{each}</entryRelationship>'
        for n, each in enumerate(policies, 1)
    )
    return of_sections((
        PAYERS,
        entry(f"""<act classCode="ACT" moodCode="EVN" {attributes}><templateId root="{CCDA}60"/>
      <code code="48768-6" codeSystem="2.16.840.1.113883.6.1"/><statusCode code="completed"/>{held}</act>"""),
    ))  # fmt: skip


def test_policies_pay_in_the_order_that_is_told() -> None:
    done = payers(policy(INSURANCE + covered(), number="A"), policy(INSURANCE + covered(), number="B"))
    assert [(each["identifier"][0]["value"], each["order"]) for each in every(done, "Coverage")] == [("A", 1), ("B", 2)]
    assert [each["status"] for each in every(done, "Coverage")] == ["active", "active"]


def test_the_insurance_is_known_by_the_number_of_its_role() -> None:
    done = payers(policy(INSURANCE + covered()))
    (insurance,) = (each for each in every(done, "Organization") if each.get("name") == "Example Insurance")
    assert insurance["identifier"] == [{"system": "urn:oid:2.999.6", "value": "INS"}]
    assert one(done, "Coverage")["payor"][0]["reference"] == f"Organization/{insurance['id']}"


@pytest.mark.parametrize("code", ["SELF", "ONESELF"])
def test_who_covers_herself_is_the_subscriber(code: str) -> None:
    found = one(payers(policy(INSURANCE + covered(code))), "Coverage")
    assert found["subscriber"] == found["beneficiary"]
    assert found["subscriberId"] == "MEM"
    assert found["relationship"]["coding"][0]["code"] == "self"
    assert found["period"] == {"start": "2025-01-01", "end": "2027-12-31"}


@pytest.mark.parametrize(
    ("code", "relation"),
    [("CHILD", "child"), ("SPS", "spouse"), ("FAMDEP", "other"), ("STUD", "other"), ("PRN", "parent")],
)
def test_who_is_covered_by_another_is_not_the_subscriber(code: str, relation: str) -> None:
    found = one(payers(policy(INSURANCE + covered(code) + HOLDER)), "Coverage")
    assert found["subscriber"]["display"] == found["policyHolder"]["display"] == "Ken"
    assert found["subscriber"] != found["beneficiary"]
    assert found["subscriberId"] == "SUB"
    assert found["relationship"]["coding"][0]["code"] == relation
    numbers = {each["value"]: each.get("type", {}).get("coding", [{}])[0].get("code") for each in found["identifier"]}
    assert numbers == {"POL": None, "MEM": "MB"}


def test_a_guarantor_pays_only_where_no_insurance_does() -> None:
    alone = one(payers(policy(GUARANTOR + covered())), "Coverage")
    assert [each["resourceType"] for each in alone["contained"]] == ["RelatedPerson"]
    both = one(payers(policy(INSURANCE + GUARANTOR + covered())), "Coverage")
    assert [each.get("display") for each in both["payor"]] == ["Example Insurance"]


def test_a_policy_that_nobody_is_told_to_pay_says_so() -> None:
    assert "extension" in one(payers(policy(covered())), "Coverage")["payor"][0]


def test_the_number_of_a_policy_is_the_groups_since_2024() -> None:
    plan = '<act classCode="ACT" moodCode="DEF"><id root="2.999.6" extension="GOLD"/><text>Plan Gold</text></act>'
    new = one(payers(policy(INSURANCE + covered() + related(plan), version="2024-05-01")), "Coverage")
    assert {each["type"]["coding"][0]["code"]: each["value"] for each in new["class"]} == {
        "plan": "GOLD",
        "group": "POL",
    }
    assert "class" not in one(payers(policy(INSURANCE + covered())), "Coverage")


def test_what_was_authorized_is_no_care_that_is_planned() -> None:
    done = payers(policy(INSURANCE + covered() + related(AUTHORIZATION)))
    assert every(done, "ServiceRequest") == every(done, "Procedure") == []
    found = one(done, "ClaimResponse")
    assert (found["use"], found["preAuthRef"], found["disposition"]) == ("preauthorization", "AUTH", "Colonoscopy")
    assert found["insurance"][0]["coverage"] == {"reference": f"Coverage/{one(done, 'Coverage')['id']}"}
    assert found["insurer"] == one(done, "Coverage")["payor"][0]


@pytest.mark.parametrize("where", ["policy", "all", "authorization"])
def test_a_denied_policy_is_refused(where: str) -> None:
    denied = 'negationInd="true"'
    inner = related(AUTHORIZATION.replace("<act ", f"<act {denied} ", 1)) if where == "authorization" else ""
    content = policy(INSURANCE + covered() + inner, attributes=denied if where == "policy" else "")
    done = payers(content, attributes=denied if where == "all" else "")
    assert len(every(done, "Coverage")) == (where == "authorization")
    assert every(done, "ClaimResponse") == []
    assert ("act", "unsupported") in outcomes(done)
    assert "unsupported-statement" in codes(done)


@pytest.mark.parametrize(("who", "kind"), [
    ("", "Organization"), ("<assignedPerson><name><family>Rich</family></name></assignedPerson>", "RelatedPerson"),
])  # fmt: skip
def test_a_payer_is_an_organization_or_a_person_and_never_a_professional(who: str, kind: str) -> None:
    role = f'<assignedEntity><id root="2.999.6" extension="INS-1"/>{who}</assignedEntity>'
    payer = f'<performer><templateId root="2.16.840.1.113883.10.20.22.4.87"/>{role}</performer>'
    act = f'<act classCode="ACT" moodCode="EVN"><code code="1"/><statusCode code="completed"/>{payer}</act>'
    found = one(of_sections(("48768-6", f"<entry>{act}</entry>")), "Coverage")
    named = found["payor"][0]["reference"]
    assert (named if named[0] != "#" else found["contained"][0]["resourceType"]).startswith(kind)


def test_an_authorization_of_no_policy_names_none() -> None:
    done = of_sections((PAYERS, f"<entry>{AUTHORIZATION}</entry>"))
    assert "insurance" not in one(done, "ClaimResponse")
