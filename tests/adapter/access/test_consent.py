"""A patient's consents, thin: what is understood, what is refused, and how one asking is decided.

FHIR R4 Consent (typed root rules of IHE PCF); access chapter §7 and its worked example as far as this version goes.
"""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.access import consent
from adapter.access.consent import Asking, Held, decide, moments, read, stored
from adapter.access.identity import Organisation
from adapter.access.policy import DENY, Verdict
from adapter.errors import Unprocessable

Json = dict[str, Any]

BERLIN = ZoneInfo("Europe/Berlin")
NORTH = Organisation("urn:oid:2.999.2", "north")
SOUTH = Organisation("urn:oid:2.999.2", "south")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUSE = Verdict(True, "2026:2")
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def recipient(organisation: Organisation, code: str = "IRCP") -> Json:
    return {
        "role": {"coding": [{"system": PARTICIPATION, "code": code}]},
        "reference": {"identifier": {"system": organisation.system, "value": organisation.value}},
    }


def purpose(code: str) -> Json:
    return {"system": consent.PURPOSE_SYSTEM, "code": code}


def written(kind: str = "permit", **provision: Any) -> Json:
    """A Consent as a custodian's client would write it."""
    return {
        "resourceType": "Consent",
        "id": "c1",
        "status": "active",
        "scope": {"coding": [{"system": consent.SCOPE_SYSTEM, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p1"},
        "dateTime": "2026-05-01",
        "organization": [{"reference": "Organization/o1"}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": {"type": kind} | provision,
    }


def held(resource: Json, ref: str | None = "2026:7") -> Held:
    rule = stored(resource, BERLIN)
    assert rule is not None
    return Held(rule, ref)


def asking(organisation: Organisation = NORTH, *purposes: str, now: datetime = NOON) -> Asking:
    return Asking(organisation, purposes or ("TREAT",), now)


C2 = written(actor=[recipient(NORTH)], purpose=[purpose("TREAT")], period={"end": "2026-06-30"})


def test_a_permit_opens_for_whom_it_names_and_is_the_basis() -> None:
    decided = decide([held(C2)], asking(), DENY)
    assert (decided.permit, decided.basis) == (True, "2026:7")
    assert decided.until == datetime(2026, 6, 30, 22, tzinfo=UTC)  # the end of the day where the node stands


@pytest.mark.parametrize(
    "one",
    [
        asking(SOUTH),
        asking(NORTH, "HRESCH"),
        asking(NORTH, "TREAT", "HRESCH"),
        asking(now=datetime(2026, 6, 30, 22, tzinfo=UTC)),
    ],
    ids=["another organisation", "another purpose", "one purpose too many", "over"],
)
def test_a_permit_opens_for_nobody_else(one: Asking) -> None:
    assert not decide([held(C2)], one, DENY).permit


def test_a_permit_that_is_not_in_the_log_yet_opens_nothing() -> None:
    assert not decide([held(C2, None)], asking(), DENY).permit


def test_a_deny_counts_before_it_is_in_the_log() -> None:
    assert not decide([held(written("deny"), None)], asking(), HOUSE).permit


def test_any_deny_beats_any_permit_and_the_house() -> None:
    deny = written("deny", actor=[recipient(NORTH)], purpose=[purpose("TREAT")])
    deny["organization"] = [{"reference": "Organization/other"}]
    assert not decide([held(C2), held(deny)], asking(), HOUSE).permit
    assert decide([held(deny)], asking(SOUTH), HOUSE).permit


def test_a_deny_of_one_of_several_purposes_is_enough() -> None:
    assert not decide(
        [held(written("deny", purpose=[purpose("HRESCH")]))], asking(NORTH, "TREAT", "HRESCH"), HOUSE
    ).permit


def test_the_house_rule_decides_where_no_consent_speaks() -> None:
    assert decide([], asking(), HOUSE) == consent.Decision(True, "2026:2")
    assert decide([held(C2)], asking(SOUTH), HOUSE).basis == "2026:2"


def test_of_several_permits_the_one_that_holds_longest_is_the_basis() -> None:
    longer = copy.deepcopy(C2) | {"organization": [{"reference": "Organization/other"}]}
    longer["provision"]["period"]["end"] = "2026-12"
    assert decide([held(C2, "2026:7"), held(longer, "2026:5")], asking(), DENY).basis == "2026:5"


def test_a_newer_consent_of_the_same_line_voids_the_permit_of_the_older() -> None:
    newer = copy.deepcopy(C2) | {"dateTime": "2026-05-03"}
    newer["provision"] |= {"actor": [recipient(SOUTH)]}
    assert not decide([held(C2), held(newer)], asking(), DENY).permit
    assert decide([held(C2), held(newer)], asking(SOUTH), DENY).permit


def test_a_newer_consent_that_is_over_still_voids_the_permit_but_lifts_no_deny() -> None:
    over = copy.deepcopy(C2) | {"dateTime": "2026-05-03"}
    over["provision"]["period"] = {"end": "2026-05-03"}
    assert not decide([held(C2), held(over)], asking(), DENY).permit
    deny = written("deny")
    assert not decide([held(deny), held(over)], asking(), HOUSE).permit


def test_a_newer_consent_in_force_lifts_the_deny_of_the_older() -> None:
    newer = copy.deepcopy(C2) | {"dateTime": "2026-05-03"}
    assert decide([held(written("deny")), held(newer)], asking(), DENY).permit


def test_a_consent_that_begins_tomorrow_neither_opens_nor_voids() -> None:
    later = copy.deepcopy(C2) | {"dateTime": "2026-05-03"}
    later["provision"]["period"] = {"start": "2026-05-05"}
    assert not decide([held(later)], asking(), DENY).permit
    assert decide([held(C2), held(later)], asking(), DENY).permit


def test_consents_without_a_common_line_stand_beside_each_other() -> None:
    north, south = copy.deepcopy(C2), copy.deepcopy(C2) | {"dateTime": "2026-05-03"}
    south["provision"] |= {"actor": [recipient(SOUTH)]}
    for one in (north, south):
        del one["organization"]
    for organisation in (NORTH, SOUTH):
        assert decide([held(north), held(south)], asking(organisation), DENY).permit


WIDER: dict[str, tuple[str, Callable[[Json], object]]] = {
    "untyped": ("Consent.provision.type", lambda c: c["provision"].pop("type")),
    "no provision": ("Consent.provision.type", lambda c: c.pop("provision")),
    "nested": ("Consent.provision.provision", lambda c: c["provision"].update(provision=[{"type": "deny"}])),
    "class": ("Consent.provision.class", lambda c: c["provision"].update({"class": [{"code": "Observation"}]})),
    "code": ("Consent.provision.code", lambda c: c["provision"].update(code=[{"text": "x"}])),
    "data": ("Consent.provision.data", lambda c: c["provision"].update(data=[{"meaning": "instance"}])),
    "data period": ("Consent.provision.dataPeriod", lambda c: c["provision"].update(dataPeriod={"end": "2019"})),
    "label": ("Consent.provision.securityLabel", lambda c: c["provision"].update(securityLabel=[{"code": "R"}])),
    "action": ("Consent.provision.action", lambda c: c["provision"].update(action=[{"text": "x"}])),
    "extension": ("Consent.provision.extension", lambda c: c["provision"].update(extension=[{"url": "urn:x"}])),
    "modifier extension": ("Consent.modifierExtension", lambda c: c.update(modifierExtension=[{"url": "urn:x"}])),
    "implicit rules": ("Consent.implicitRules", lambda c: c.update(implicitRules="urn:x")),
    "verification": ("Consent.verification", lambda c: c.update(verification=[{"verified": False}])),
    "extended status": ("Consent._status", lambda c: c.update(_status={"extension": [{"url": "urn:x"}]})),
    "draft": ("Consent.status", lambda c: c.update(status="draft")),
    "research": ("Consent.scope", lambda c: c["scope"]["coding"][0].update(code="research")),
    "research besides": (
        "Consent.scope",
        lambda c: c["scope"]["coding"].append(c["scope"]["coding"][0] | {"code": "research"}),
    ),
    "extended role": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["role"].update(extension=[{"url": "urn:x"}]),
    ),
    "extended role code": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["role"]["coding"][0].update(extension=[{"url": "urn:x"}]),
    ),
    "by reference": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0].update(reference={"reference": "Organization/o2"}),
    ),
    "identifier and reference": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["reference"].update(reference="Practitioner/d1"),
    ),
    "a person": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["reference"].update(type="Practitioner"),
    ),
    "author": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["role"]["coding"][0].update(code="AUT"),
    ),
    "identifier without system": (
        "Consent.provision.actor[0]",
        lambda c: c["provision"]["actor"][0]["reference"]["identifier"].pop("system"),
    ),
    "purpose of another system": (
        "Consent.provision.purpose[0]",
        lambda c: c["provision"]["purpose"][0].update(system="urn:x"),
    ),
    "extended period": (
        "Consent.provision.period._end",
        lambda c: c["provision"]["period"].update(_end={"extension": [{"url": "urn:x"}]}),
    ),
}


@pytest.mark.parametrize("case", WIDER, ids=str)
def test_what_is_wider_is_refused_at_its_place(case: str) -> None:
    place, widen = WIDER[case]
    wider = copy.deepcopy(C2)
    widen(wider)
    with pytest.raises(Unprocessable) as refused:
        read(wider, BERLIN)
    assert [item.expression for item in refused.value.items] == [place]
    assert {item.issue for item in refused.value.items} == {"not-supported"}


@pytest.mark.parametrize("case", WIDER, ids=str)
@pytest.mark.parametrize("kind", ["permit", "deny"])
def test_what_is_wider_and_stored_all_the_same_opens_nothing(case: str, kind: str) -> None:
    wider = copy.deepcopy(C2)
    wider["provision"]["type"] = kind
    WIDER[case][1](wider)
    rule = stored(wider, BERLIN)
    found = [Held(rule, "2026:7")] if rule else []
    assert not decide(found, asking(), DENY).permit
    if rule is not None and kind == "deny":
        assert not decide(found, asking(SOUTH), HOUSE).permit


def test_what_is_understood_is_read() -> None:
    assert read(C2, BERLIN).recipients == {NORTH}
    assert read(written("deny"), BERLIN).recipients == frozenset()


def test_a_consent_that_is_not_active_is_as_if_it_were_not() -> None:
    assert stored(C2 | {"status": "inactive"}, BERLIN) is None


MOMENTS = {
    "2026": ("2025-12-31T23:00:00+00:00", "2026-12-31T23:00:00+00:00"),
    "2024": ("2023-12-31T23:00:00+00:00", "2024-12-31T23:00:00+00:00"),
    "2026-02": ("2026-01-31T23:00:00+00:00", "2026-02-28T23:00:00+00:00"),
    "2026-03-29": ("2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),  # 23 hours: summer time begins
    "2026-05-04T12:00:00Z": ("2026-05-04T12:00:00+00:00", "2026-05-04T12:00:01+00:00"),
    "2026-05-04T12:00:00.5+02:00": ("2026-05-04T10:00:00.500000+00:00", "2026-05-04T10:00:00.600000+00:00"),
    "2016-12-31T23:59:60Z": ("2017-01-01T00:00:00+00:00", "2017-01-01T00:00:01+00:00"),
}


@pytest.mark.parametrize("text", MOMENTS, ids=str)
def test_a_date_is_all_of_its_time_where_the_node_stands(text: str) -> None:
    assert tuple(moment.isoformat() for moment in moments(text, BERLIN)) == MOMENTS[text]


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31", "0001-01-01", "0001"])
def test_the_ends_of_the_calendar_are_no_error(text: str) -> None:
    first, after = moments(text, BERLIN)
    assert consent.BEGINNING <= first < after <= consent.END


@pytest.mark.parametrize("text", ["", "26", "2026-13", "2026-02-30", "2026-05-04T12:00", "٢٠٢٦", "yesterday"])
def test_what_is_no_date_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"date|month|year|day"):
        moments(text, BERLIN)


organisations = st.sampled_from([NORTH, SOUTH])
codes = st.lists(st.sampled_from(["TREAT", "ETREAT", "HRESCH"]), max_size=2, unique=True)


@st.composite
def consents(draw: st.DrawFn) -> Json:
    provision: Json = {}
    if draw(st.booleans()):
        provision["actor"] = [recipient(draw(organisations))]
    if purposes := draw(codes):
        provision["purpose"] = [purpose(code) for code in purposes]
    if draw(st.booleans()):
        begin = NOON + timedelta(days=draw(st.integers(-3, 1)))
        provision["period"] = {"start": begin.isoformat(), "end": (begin + timedelta(days=2)).isoformat()}
    made = written(draw(st.sampled_from(["permit", "deny"])), **provision)
    made["dateTime"] = f"2026-05-0{draw(st.integers(1, 3))}"
    if draw(st.booleans()):
        del made["organization"]
    return made


asked = st.builds(asking, organisations, st.sampled_from(["TREAT", "HRESCH"]))
houses = st.sampled_from([DENY, HOUSE])


@settings(deadline=None, max_examples=200)
@given(st.lists(consents(), max_size=4), asked, houses, st.randoms(use_true_random=False))
def test_the_order_of_consents_decides_nothing(found: list[Json], one: Asking, house: Verdict, random: Any) -> None:
    numbered = [held(resource, f"2026:{n}") for n, resource in enumerate(found)]
    shuffled = list(numbered)
    random.shuffle(shuffled)
    assert decide(numbered, one, house) == decide(shuffled, one, house)


@settings(deadline=None, max_examples=200)
@given(st.lists(consents(), max_size=3), consents(), asked, houses, st.sampled_from(sorted(WIDER)))
def test_adding_a_deny_or_an_unknown_construct_never_opens_more(
    found: list[Json], one: Json, ask: Asking, house: Verdict, case: str
) -> None:
    """A deny of its own line: one of an older line's could lift that line's denies, as it should."""
    before = decide([held(resource) for resource in found], ask, house)
    one |= {"organization": [{"reference": "Organization/of-its-own"}]}
    one["provision"]["type"] = "deny"
    assert not _opened(before, decide([held(resource) for resource in [*found, one]], ask, house))
    wider = copy.deepcopy(C2) | {"dateTime": "2026-05-09"}
    WIDER[case][1](wider)
    rule = stored(wider, BERLIN)
    more = [*[held(resource) for resource in found], *([Held(rule, "2026:9")] if rule else [])]
    assert not _opened(before, decide(more, ask, house))


def _opened(before: consent.Decision, after: consent.Decision) -> bool:
    return after.permit and not before.permit
