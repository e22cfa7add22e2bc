"""Problems, goals and pathways: action codes win, statuses are words, nesting links, the end goes with its status.

Source: HL7 v2.9 chapter 12; design chapter HL7 v2 §4, §6, §8; FHIR R4 con-4, con-5.
"""

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from mappings.fhir.values import lexeme
from tests.mappings.hl7v2.messages import MR, Store, bodies, codes, convert, header, mapped, obx, one, segment

NUMBER = "PRB1^HOSP^2.999.1.30^ISO"
PID = f"PID|1||4711{MR}"


def prb(action: str = "AD", **fields: str) -> str:
    known = {"f1": action, "f2": "20250304100000+0100", "f3": "I50.1^Left ventricular failure^I10", "f4": NUMBER}
    return segment("PRB", **(known | fields))


def gol(action: str = "AD", number: str = "G1", **fields: str) -> str:
    known = {"f1": action, "f3": "W70^Weight below 70 kg^99HOSP", "f4": f"{number}^HOSP^2.999.1.34^ISO"}
    return segment("GOL", **(known | fields))


def ppr(*segments: str, at: str = "20250304120000+0100", event: str = "PPR^PC1") -> Conversion:
    return convert(header(event, at), PID, *segments)


def code_of(body: dict[str, object], element: str) -> str | None:
    concept = body.get(element)
    return concept["coding"][0]["code"] if isinstance(concept, dict) else None


@pytest.mark.parametrize(
    ("fields", "clinical", "verification"),
    [
        ({}, "active", None),
        ({"f14": "Resolved"}, "resolved", None),
        ({"f14": "^INACTIVE"}, "inactive", None),
        ({"f14": "active^Active^99HOSP", "f13": "confirmed"}, "active", "confirmed"),
        ({"f13": "ACTIVE"}, "active", None),  # senders put the life cycle where the confirmation goes
        ({"f13": "Resolved", "f14": "active"}, "active", None),
        ({"f9": "20250401"}, "resolved", None),  # con-4: what has an end is over
    ],
)
def test_the_words_for_a_problem_become_its_statuses(
    fields: dict[str, str], clinical: str, verification: str | None
) -> None:
    problem = one(ppr(prb(**fields)), "Condition")
    assert (code_of(problem, "clinicalStatus"), code_of(problem, "verificationStatus")) == (clinical, verification)
    assert validate(problem) == ()


def test_a_word_of_the_sites_own_is_kept_and_reported() -> None:
    conversion = ppr(prb(f14="WATCH^Watchful waiting^99HOSP"))
    kept = [each["valueCoding"] for each in one(conversion, "Condition")["extension"]]
    assert [coding["code"] for coding in kept] == ["WATCH"]
    assert "vocab-miss" in codes(conversion)
    assert "clinicalStatus" in mapped(conversion, "Condition").filled


@pytest.mark.parametrize("action", ["DE", "D"])
def test_a_problem_that_is_taken_back_was_entered_in_error(action: str) -> None:
    conversion = ppr(prb(action, f9="20250303", f14="active"))
    problem = one(conversion, "Condition")
    assert code_of(problem, "verificationStatus") == "entered-in-error"
    assert {"clinicalStatus", "abatementDateTime"} & problem.keys() == set()
    assert {"clinicalStatus", "abatement[x]"} <= set(mapped(conversion, "Condition").clear)


def test_a_problem_stored_with_an_end_can_be_taken_back() -> None:
    store = Store().take(ppr(prb(f9="20250303"))).take(ppr(prb("DE"), at="20250305120000+0100"))
    assert validate(store.one("Condition")) == ()
    assert "abatementDateTime" not in store.one("Condition")


def test_an_active_problem_has_no_end() -> None:
    conversion = ppr(prb(f9="20250303", f14="active"))
    assert "abatementDateTime" not in one(conversion, "Condition")
    assert "contradiction" in codes(conversion)


def test_a_problem_that_is_over_before_it_began_keeps_its_start() -> None:
    conversion = ppr(prb(f9="20250303", f16="20250401"))
    problem = one(conversion, "Condition")
    assert (problem["onsetDateTime"], code_of(problem, "clinicalStatus")) == ("2025-04-01", "resolved")
    assert "abatementDateTime" not in problem
    assert problem["_abatementDateTime"] == {"extension": [lexeme("2025-03-03")]}
    assert "contradiction" in codes(conversion)
    assert validate(problem) == ()


def test_a_problem_that_is_active_again_loses_its_end() -> None:
    store = Store().take(ppr(prb(f9="20250303"))).take(ppr(prb("UP", f14="active"), at="20250305120000+0100"))
    assert code_of(store.one("Condition"), "clinicalStatus") == "active"
    assert "abatementDateTime" not in store.one("Condition")


def test_an_update_without_a_status_leaves_the_one_that_stands() -> None:
    store = Store().take(ppr(prb(f14="inactive"))).take(ppr(prb("UP"), at="20250305120000+0100"))
    assert code_of(store.one("Condition"), "clinicalStatus") == "inactive"


def test_an_older_statement_fills_only_what_is_absent() -> None:
    late = ppr(prb("UP", f14="active", f26="MO^Moderate^99HOSP"), at="20250301120000+0100")
    store = Store().take(ppr(prb(f14="resolved"), at="20250304120000+0100")).take(late)
    assert code_of(store.one("Condition"), "clinicalStatus") == "resolved"
    assert code_of(store.one("Condition"), "severity") == "MO"
    assert "late-event" in store.noticed


def test_the_number_of_a_problem_identifies_it_in_every_message() -> None:
    first, second = one(ppr(prb()), "Condition"), one(ppr(prb("UP", f3="I50.9^Heart failure^I10")), "Condition")
    assert first["id"] == second["id"]
    assert first["id"] != one(ppr(prb(f4="PRB2^HOSP^2.999.1.30^ISO")), "Condition")["id"]
    assert first["id"] != one(ppr(prb(f4="PRB1^WARD^2.999.1.31^ISO")), "Condition")["id"]


def test_a_problem_without_a_number_is_known_by_what_and_since_when() -> None:
    since = {"f4": "", "f16": "20250101"}
    first, again = one(ppr(prb(**since)), "Condition"), one(ppr(prb("UP", **since)), "Condition")
    assert first["id"] == again["id"]
    assert first["id"] != one(ppr(prb(f4="", f16="20200101")), "Condition")["id"]


def test_a_problem_that_says_nothing_is_known_by_its_place() -> None:
    assert "no-identity" in codes(ppr(segment("PRB", f1="AD")))
    assert not bodies(ppr(segment("PRB", f1="AD", f3='""')), "Condition")


@pytest.mark.parametrize(("mood", "stated"), [("", True), ("EVN", True), ("RQO", False), ("EXP", False)])
def test_only_what_is_so_is_a_problem(mood: str, stated: bool) -> None:
    conversion = ppr(prb(f28=mood))
    assert bool(bodies(conversion, "Condition")) is stated
    assert ("kind-unmapped" in codes(conversion)) is not stated


@pytest.mark.parametrize(
    ("action", "word", "status"),
    [
        ("AD", "", "active"),
        ("AD", "proposed", "proposed"),
        ("AD", "On Hold", "on-hold"),
        ("AD", "whatever", "active"),
        ("ST", "", "cancelled"),
        ("ST", "completed", "completed"),
        ("DE", "active", "entered-in-error"),
    ],
)
def test_the_action_code_of_a_goal_wins_over_its_status(action: str, word: str, status: str) -> None:
    goal = one(ppr(prb(), gol(action, f18=word)), "Goal")
    assert goal["lifecycleStatus"] == status
    assert validate(goal) == ()


@pytest.mark.parametrize(("action", "status"), [("AD", "active"), ("ST", "revoked"), ("DE", "entered-in-error")])
def test_the_action_code_of_a_pathway_is_its_status(action: str, status: str) -> None:
    pathway = segment("PTH", f1=action, f2="HFP^Heart failure^99HOSP", f3="PTH1", f4="20250304")
    plan = one(ppr(prb(), pathway), "CarePlan")
    assert plan["status"] == status
    assert plan["addresses"] == [{"reference": f"Condition/{one(ppr(prb()), 'Condition')['id']}"}]


def test_a_goal_keeps_the_problems_it_was_linked_to_until_it_is_unlinked() -> None:
    other = prb(f4="PRB2^HOSP^2.999.1.30^ISO")
    store = Store().take(ppr(prb(), gol())).take(ppr(other, gol("LI"), at="20250305120000+0100"))
    assert len(store.one("Goal")["addresses"]) == 2
    store.take(ppr(prb("UC"), gol("UN"), at="20250306120000+0100"))
    left = [each["reference"] for each in store.one("Goal")["addresses"]]
    assert left == [f"Condition/{one(ppr(other), 'Condition')['id']}"]


def test_what_stands_below_a_problem_speaks_for_it() -> None:
    conversion = ppr(prb(), obx(code="3141-9^Weight^LN"), gol(), obx(code="3141-9^Weight^LN", f4="2"))
    weighed, later = bodies(conversion, "Observation")
    assert one(conversion, "Condition")["evidence"] == [{"detail": [{"reference": f"Observation/{weighed['id']}"}]}]
    assert one(conversion, "Goal")["outcomeReference"] == [{"reference": f"Observation/{later['id']}"}]


def test_each_structure_says_by_its_nesting_what_addresses_what() -> None:
    pathway = segment("PTH", f1="AD", f2="HFP^Heart failure^99HOSP", f3="PTH1", f4="20250304")
    below_goal = ppr(gol(), prb(), gol(number="G2"), event="PGL^PC6")
    assert ["addresses" in goal for goal in bodies(below_goal, "Goal")] == [True, False]
    below_pathway = ppr(pathway, prb(), gol(), event="PPP^PCB")
    plan = one(below_pathway, "CarePlan")
    assert [len(plan[name]) for name in ("addresses", "goal")] == [1, 1]
    assert len(one(below_pathway, "Goal")["addresses"]) == 1


def test_roles_of_a_problem_are_its_team_and_those_taken_back_are_not() -> None:
    role = "ROL|1|{}|AT^Attending^HL70443|{}^Kaya^Leyla^^^^^^HOSP&2.999.1.5&ISO"
    conversion = ppr(prb(), role.format("AD", "7"), role.format("DE", "8"))
    team = one(conversion, "CareTeam")
    assert [each["member"]["display"] for each in team["participant"]] == ["Leyla Kaya"]
    assert not bodies(ppr(prb()), "CareTeam")
    assert one(ppr(prb("DE"), role.format("AD", "7")), "CareTeam")["status"] == "entered-in-error"


@pytest.mark.parametrize(("code", "label"), [("V", "V"), ("R", "R"), ("SECRET", "R")])
def test_a_sensitive_problem_is_labelled_and_closed_where_the_code_is_unknown(code: str, label: str) -> None:
    conversion = ppr(prb(f25=code), gol())
    for kind in ("Condition", "Goal"):
        assert one(conversion, kind)["meta"]["security"][0]["code"] == label


@pytest.mark.parametrize("fields", [{}, {"f14": "active"}, {"f13": "confirmed"}])
def test_a_problem_that_is_stated_again_is_no_error_any_more(fields: dict[str, str]) -> None:
    store = Store().take(ppr(prb("DE"))).take(ppr(prb(**fields), at="20250305120000+0100"))
    problem = store.one("Condition")
    assert code_of(problem, "clinicalStatus") == "active"
    assert code_of(problem, "verificationStatus") == ("confirmed" if "f13" in fields else None)
    assert validate(problem) == ()


def test_what_was_taken_back_stays_so_though_the_first_statement_arrives_late() -> None:
    store = Store().take(ppr(prb("DE"))).take(ppr(prb(f14="active"), at="20250301120000+0100"))
    assert code_of(store.one("Condition"), "verificationStatus") == "entered-in-error"
    assert "clinicalStatus" not in store.one("Condition")


def test_an_active_problem_gets_no_end_from_an_older_statement() -> None:
    store = Store().take(ppr(prb(f14="active"))).take(ppr(prb(f9="20250101"), at="20250301120000+0100"))
    assert "abatementDateTime" not in store.one("Condition")
    assert code_of(store.one("Condition"), "clinicalStatus") == "active"
