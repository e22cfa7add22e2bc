"""House rules and how the log adopts them. Access chapter §7 (defaults), ledger chapter §5, §6."""

from datetime import UTC, datetime

import msgspec
import pytest

from adapter.access import audit, policy
from adapter.access.policy import Asker, Folding, changes, default, documents
from adapter.errors import IntegrityFault
from adapter.settings import Access

SHIPPED = Access()


def entries(*events: tuple[str, dict[str, str]]) -> list[tuple[str, bytes]]:
    return [
        (f"2026:{index}", msgspec.json.encode({"type": kind, "d": facts, "v": 1}, order="sorted"))
        for index, (kind, facts) in enumerate(events)
    ]


def adopted(access: Access = SHIPPED) -> dict[str, policy.Adopted]:
    folding = Folding()
    facts = [
        ("policy.adopted", {"name": name, "digest": policy.digest(document)})
        for name, document in documents(access).items()
    ]
    folding.take(entries(("log.opened", {"origin": "o"}), *facts))
    return folding.adopted


def asker(own: bool = True, role: str = "clinician", *purposes: str) -> Asker:
    return Asker(own, frozenset({role}), purposes or ("TREAT",))


def test_treatment_opens_for_the_own_clinical_staff_and_is_the_basis() -> None:
    verdict = default(adopted(), asker(), shared=False)
    assert (verdict.permit, verdict.basis) == (True, "2026:1")


@pytest.mark.parametrize(
    "one",
    [
        asker(False),
        asker(True, "analyst"),
        asker(True, "clinician", "HRESCH"),
        asker(True, "clinician", "TREAT", "HRESCH"),
        Asker(True, frozenset(), ("TREAT",)),
    ],
    ids=["another organisation", "no clinical role", "another purpose", "one purpose too many", "no role"],
)
def test_treatment_opens_for_nobody_else(one: Asker) -> None:
    assert default(adopted(), one, shared=False) == policy.DENY


def test_what_belongs_to_no_patient_is_the_organisations_own() -> None:
    assert default(adopted(), asker(True, "analyst", "HPAYMT"), shared=True).permit
    assert not default(adopted(), asker(False), shared=True).permit


def test_a_rule_that_permits_all_permits_any_purpose_and_role() -> None:
    found = adopted(Access(across="all"))
    assert default(found, asker(False, "gateway", "HRESCH"), shared=False).permit


def test_break_glass_opens_nothing_without_a_session() -> None:
    assert not default(adopted(Access(inside="break-glass")), asker(), shared=False).permit


def test_without_an_adopted_policy_nothing_is_permitted() -> None:
    assert default({}, asker(), shared=False) == policy.DENY


def test_a_log_that_says_what_the_settings_say_needs_no_change() -> None:
    assert changes(adopted(), documents(SHIPPED)) == ()


def test_a_changed_setting_retires_the_old_policy_and_adopts_the_new_one() -> None:
    before = adopted()
    found = changes(before, documents(Access(inside="deny")))
    assert [(change.name, change.retires) for change in found] == [("inside", before["inside"])]
    events = audit.policy_events(found, "stadtklinik", policy_time(), lambda count: bytes(count))
    assert [event.type for event in events] == ["policy.retired", "policy.adopted"]
    assert events[0].ends == ("2026:1",)


def policy_time() -> datetime:
    return datetime(2026, 3, 4, tzinfo=UTC)


def test_a_retired_policy_permits_nothing() -> None:
    folding = Folding()
    document = policy.digest(documents(SHIPPED)["inside"])
    folding.take(
        entries(("policy.adopted", {"name": "inside", "digest": document}), ("policy.retired", {"of": "2026:0"}))
    )
    assert folding.adopted == {}


def test_a_policy_that_this_version_does_not_know_stops_it() -> None:
    for facts in ({"name": "inside", "digest": "00" * 32}, {"name": "across", "digest": adopted()["inside"].digest}):
        with pytest.raises(IntegrityFault):
            Folding().take(entries(("policy.adopted", facts)))


def test_the_clinical_roles_are_the_rows_that_say_so() -> None:
    assert {"clinician", "doctor", "nurse", "pharmacist"} == policy.clinical_roles()


def test_a_policys_digest_covers_every_role_and_purpose() -> None:
    text = documents(SHIPPED)["inside"].decode()
    assert all(word in text for word in (*policy.clinical_roles(), *policy.TREATMENT, "treatment", "inside"))
