"""Care teams: who belongs to one, since and until when, and who never did.

Source: C-CDA R2.1 companion guide and 5.0 care team organizer, member act, type and schedule observations.
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes
from tests.mappings.cda.plans import PROBLEMS, TEAMS, concern, entry

Json = dict[str, Any]
CCDA = "2.16.840.1.113883.10.20.22.4."
SINCE = '<effectiveTime><low value="2020"/></effectiveTime>'


def member(name: str = "Flo", *, number: str = "1", status: str = "active", time: str = SINCE, more: str = "") -> str:
    return f"""<act classCode="PCPR" moodCode="EVN"><templateId root="{CCDA}500.1"/>
      <id root="2.999.9" extension="m{number}"/>
      <code code="92707-9" codeSystem="2.16.840.1.113883.6.1"/><statusCode code="{status}"/>{time}
      <performer><sdtc:functionCode code="PCP" codeSystem="2.16.840.1.113883.5.88"/><assignedEntity>
      <id root="2.999.3" extension="{number}"/><assignedPerson><name><given>{name}</given></name></assignedPerson>
      </assignedEntity></performer>{more}</act>"""


def team(*members: str, status: str = "active", attributes: str = "", more: str = "") -> Conversion:
    held = "".join(f"<component>{each}</component>" for each in members)
    return of_sections((
        TEAMS,
        entry(f"""<organizer classCode="CLUSTER" moodCode="EVN" {attributes}><templateId root="{CCDA}500"/>
      <id root="2.999.9" extension="t"/><code code="86744-0" codeSystem="2.16.840.1.113883.6.1">
      <originalText>My team</originalText></code><statusCode code="{status}"/>{SINCE}{more}{held}</organizer>"""),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("active", "active"), ("completed", "inactive"), ("aborted", "inactive"), ("cancelled", "inactive"),
        ("held", "suspended"), ("suspended", "suspended"), ("new", "proposed"), ("nullified", "entered-in-error"),
    ],
)  # fmt: skip
def test_the_status_of_a_team(status: str, said: str) -> None:
    found = one(team(member(), status=status), "CareTeam")
    assert (found["status"], found["name"], found["period"]) == (said, "My team", {"start": "2020"})


def test_a_member_has_a_role_and_a_time() -> None:
    (found,) = one(team(member()), "CareTeam")["participant"]
    assert found["role"][0]["coding"][0]["code"] == "PCP"
    assert found["member"]["display"] == "Flo"
    assert found["period"] == {"start": "2020"}


def test_who_left_has_an_end_be_it_unknown() -> None:
    (found,) = one(team(member(status="completed")), "CareTeam")["participant"]
    assert found["period"]["_end"]["extension"][0]["valueCode"] == "unknown"
    ended = '<effectiveTime><low value="2020"/><high value="2021"/></effectiveTime>'
    (known,) = one(team(member(status="completed", time=ended)), "CareTeam")["participant"]
    assert known["period"] == {"start": "2020", "end": "2021"}


@pytest.mark.parametrize("status", ["nullified", "cancelled"])
def test_who_never_was_a_member_is_none(status: str) -> None:
    done = team(member(), member("Ivo", number="2", status=status))
    assert [each["member"]["display"] for each in one(done, "CareTeam")["participant"]] == ["Flo"]


def test_a_denied_member_is_none() -> None:
    done = team(member(), member("Ivo", number="2").replace("<act ", '<act negationInd="true" '))
    assert [each["member"]["display"] for each in one(done, "CareTeam")["participant"]] == ["Flo"]
    assert "unsupported-statement" in codes(done)


def test_a_denied_team_is_refused() -> None:
    done = team(attributes='negationInd="true"')
    assert every(done, "CareTeam") == []
    assert outcomes(done) == [("organizer", "unsupported")]


def test_a_schedule_says_when_a_member_takes_part() -> None:
    when = f"""<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN">
      <templateId root="{CCDA}500.3"/>
      <code code="57203-2" codeSystem="2.16.840.1.113883.6.1"/><value xsi:type="IVL_TS"><low value="20210401"/>
      <high value="20210412"/></value></observation></entryRelationship>"""
    done = team(member(more=when))
    assert one(done, "CareTeam")["participant"][0]["period"] == {"start": "2021-04-01", "end": "2021-04-12"}
    assert every(done, "Observation") == []


@pytest.mark.parametrize(("root", "extension"), [("2.999.3", "2"), ("2.999.9", "m2")])
def test_who_leads_is_the_member_of_that_number(root: str, extension: str) -> None:
    lead = f"""<participant typeCode="PPRF"><participantRole><id root="{root}" extension="{extension}"/>
      </participantRole></participant>"""
    done = team(member(), member("Gus", number="2"), more=lead)
    found = one(done, "CareTeam")["participant"]
    assert [len(each["role"]) for each in found] == [1, 2]
    assert found[1]["role"][1]["coding"][0]["code"] == "PPRF"


def test_a_leader_who_is_no_member_is_a_participant() -> None:
    lead = """<participant typeCode="PPRF"><participantRole><id root="2.999.3" extension="9"/>
      </participantRole></participant>"""
    found = one(team(member(), more=lead), "CareTeam")["participant"]
    assert [each["role"][0]["coding"][0]["code"] for each in found] == ["PCP", "PPRF"]


def test_a_member_without_a_team_is_a_team_of_one() -> None:
    done = of_sections((TEAMS, entry(member())))
    assert [each["member"]["display"] for each in one(done, "CareTeam")["participant"]] == ["Flo"]


def test_a_team_is_there_for_what_it_points_at() -> None:
    reason = f"""<act classCode="ACT" moodCode="EVN"><templateId root="{CCDA}122"/><id root="2.999.9" extension="c1"/>
      <code nullFlavor="NP"/></act>"""
    kind = f"""<observation classCode="OBS" moodCode="EVN"><templateId root="{CCDA}500.2"/><code code="86744-0"
      codeSystem="2.16.840.1.113883.6.1"/><value xsi:type="CD" code="LA28865-6" codeSystem="2.16.840.1.113883.6.1"/>
      </observation>"""
    teams = team(member(), reason, kind)
    assert one(teams, "CareTeam")["category"][0]["coding"][0]["code"] == "LA28865-6"
    assert len(one(teams, "CareTeam")["participant"]) == 1
    whole = f"""<entry><organizer classCode="CLUSTER" moodCode="EVN"><code code="86744-0"/><statusCode code="active"/>
      <component>{reason}</component></organizer></entry>"""
    done = of_sections((PROBLEMS, concern()), (TEAMS, whole))
    assert one(done, "CareTeam")["reasonReference"] == [{"reference": f"Condition/{one(done, 'Condition')['id']}"}]
