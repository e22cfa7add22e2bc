"""SMART scopes: grammar, v1 forms, narrowing. SMART App Launch 2.2 §Scopes; access chapter §4."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.access.scopes import Scope, Scopes, intersect, parse

GOOD = {
    "system/Observation.rs": Scope("system", "Observation", "rs"),
    "user/*.cruds": Scope("user", "*", "cruds"),
    "patient/Patient.r": Scope("patient", "Patient", "r"),
    "system/Observation.read": Scope("system", "Observation", "rs"),
    "system/Observation.write": Scope("system", "Observation", "cud"),
    "system/*.*": Scope("system", "*", "cruds"),
    "system/Observation.search": Scope("system", "Observation", "s"),
    "system/Consent.create": Scope("system", "Consent", "c"),
    "system/Observation.rs?category=laboratory": Scope("system", "Observation", "rs", "category=laboratory"),
    "system/Observation.r?code=a|b&status=final": Scope("system", "Observation", "r", "code=a|b&status=final"),
}
BAD = [
    "",
    "openid",
    "launch/patient",
    "system/Observation",
    "system/Observation.",
    "system/Observation.sr",
    "system/Observation.rr",
    "system/Observation.x",
    "system/Observation.Read",
    "system/observation.r",
    "System/Observation.r",
    "system/Observation.r?",
    "system/*.rs?category=laboratory",
    "system/Observation.r?a=\u00e4",
    "system//.r",
    "offline_access",
]


@pytest.mark.parametrize("text", GOOD, ids=str)
def test_a_scope_of_the_grammar_is_read(text: str) -> None:
    assert parse(text) == (GOOD[text],)


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_what_is_no_scope_is_left_out(text: str) -> None:
    assert parse(f"system/Patient.r {text}") == (Scope("system", "Patient", "r"),)


LETTERS = ["".join(combo) for size in range(1, 6) for combo in itertools.combinations("cruds", size)]
scope = st.builds(
    Scope,
    st.sampled_from(["system", "user", "patient"]),
    st.sampled_from(["*", "Observation", "Patient", "Consent"]),
    st.sampled_from(LETTERS),
)


@settings(deadline=None, max_examples=100)
@given(scope)
def test_a_scope_is_read_back_as_it_is_written(one: Scope) -> None:
    assert parse(str(one)) == (one,)


@settings(deadline=None, max_examples=200)
@given(st.lists(scope, max_size=4), st.lists(scope, max_size=4), st.sampled_from(["Observation", "Patient"]))
def test_a_narrowed_set_opens_what_both_sides_open_and_nothing_else(
    asked: list[Scope], registered: list[Scope], kind: str
) -> None:
    narrowed = Scopes(intersect(asked, registered))
    for letter in ("c", "r", "u", "d", "s"):
        contexts = [
            {one.context for one in side if one.type in ("*", kind) and letter in one.letters}
            for side in (asked, registered)
        ]
        both = (contexts[0] & contexts[1]) - {"patient"}
        assert narrowed.judge(kind, letter).permitted == bool(both)


def test_queries_of_both_sides_must_hold() -> None:
    (found,) = intersect(parse("system/Observation.rs?code=a"), parse("system/Observation.r?status=final"))
    assert found == Scope("system", "Observation", "r", "code=a&status=final")


def test_one_scope_without_a_query_frees_the_others() -> None:
    judged = Scopes(parse("system/Observation.r?code=a system/Observation.rs"))
    assert judged.judge("Observation", "r").queries == ()


def test_scopes_with_queries_are_or_ed() -> None:
    judged = Scopes(parse("system/Observation.r?code=a system/Observation.r?code=b"))
    assert judged.judge("Observation", "r").queries == ("code=a", "code=b")
    assert not judged.judge("Observation", "s").permitted


def test_a_patient_scope_opens_nothing_without_a_launch_patient() -> None:
    assert not Scopes(parse("patient/*.cruds")).judge("Patient", "r").permitted


def test_a_scope_string_without_end_is_read_up_to_a_bound() -> None:
    assert len(parse(" ".join(f"system/Type{chr(65 + n % 26)}.r" for n in range(1000)))) == 200
