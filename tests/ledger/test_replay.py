"""Replay of permits (ledger chapter §13): each rule alone, and never a guess about what is not opened."""

from typing import Any

import pytest

from ledger.replay import Finding, Replay, Verdict

T = "2026-03-04T09:00:00.000Z"
LATER = "2026-03-04T10:00:00.000Z"
Step = tuple[dict[str, Any], dict[str, str]]


def entry(kind: str, t: str = T, **more: Any) -> dict[str, Any]:
    return {"type": kind, "t": t, "tag": "aa"} | more


def adopted() -> Step:
    return entry("policy.adopted", d={"name": "inside", "digest": "ab"}), {}


def retired(of: str) -> Step:
    return entry("policy.retired", d={"of": of}), {}


def granted(verb: str = "granted", *hidden: str, **more: str) -> Step:
    opened = {"handle": "h", "subject": "o-7", "nb": "2026-01-01T00:00:00.000Z", "exp": "none"} | more
    return entry(f"consent.{verb}"), {name: value for name, value in opened.items() if name not in hidden}


def glass(until: str = LATER, **more: str) -> Step:
    return entry("access.breakglass", d={"until": until}), {"subject": "o-7"} | more


def permit(basis: str | None, t: str = T, subject: str | None = "o-7", tag: str = "aa") -> Step:
    opened = {"basis": basis, "subject": subject}
    found = {name: value for name, value in opened.items() if value is not None}
    return entry("access.read", t, outcome="permit", c={"basis": "00"}, tag=tag), found


def judge(*steps: Step) -> Finding:
    replay = Replay("2026")
    found = [replay.take(index, *step) for index, step in enumerate(steps)]
    assert found[-1] is not None
    return found[-1]


JUSTIFIED = {
    "a policy": [adopted(), permit("2026:0")],
    "a consent": [granted(), permit("2026:0")],
    "an amended one": [granted(), granted("amended"), permit("2026:1")],
    "a consent that ends later": [granted(exp=LATER), permit("2026:0")],
    "a break-glass declaration": [glass(), permit("2026:0")],
    "a consent, another being revoked": [
        granted(), granted(handle="g"), granted("revoked", handle="g"), permit("2026:0"),
    ],
    "a policy, whomever it is about": [adopted(), permit("2026:0", subject=None)],
    "an unopened ending of somebody else": [
        granted(), (entry("consent.revoked", tag="bb"), {}), permit("2026:0"),
    ],
}  # fmt: skip

UNJUSTIFIED = {
    "its basis comes after it": [adopted(), permit("2026:1")],
    "its basis is no reference": [adopted(), permit("tomorrow")],
    "its basis grants nothing": [(entry("operator.acted"), {}), permit("2026:0")],
    "its basis had ended": [granted(), granted("revoked"), permit("2026:0")],
    "its basis was refused": [granted(), granted("revoked"), granted(), permit("2026:2")],
    "it is outside the period of its basis": [granted(exp=T), permit("2026:0")],
    "its basis is about another subject": [granted(), permit("2026:0", subject="o-8")],
}
ALSO = {
    "an amended consent's first entry": [granted(), granted("amended"), permit("2026:0")],
    "an expired one": [granted(), granted("expired"), permit("2026:0")],
    "a retired policy": [adopted(), retired("2026:0"), permit("2026:0")],
    "one that has not begun": [granted(nb=LATER), permit("2026:0")],
    "a lapsed break-glass": [glass(), permit("2026:0", t=LATER)],
    "a revocation": [granted(), granted("revoked"), permit("2026:1")],
}
UNOPENED = {
    "its basis": [adopted(), permit(None)],
    "another log's basis": [permit("2025:4")],
    "the consent's handle": [granted("granted", "handle"), permit("2026:0")],
    "its end": [granted("granted", "exp"), permit("2026:0")],
    "whom it is about": [granted("granted", "subject"), permit("2026:0")],
    "whom the permit is about": [granted(), permit("2026:0", subject=None)],
    "an ending that may be hers": [granted(), granted("revoked", "handle"), permit("2026:0")],
    "an ending of another month": [
        granted(), (entry("consent.revoked", "2026-02-28T00:00:00.000Z", tag="bb"), {}), permit("2026:0"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", JUSTIFIED)
def test_a_permit_is_justified_by(name: str) -> None:
    assert judge(*JUSTIFIED[name]) == Finding(len(JUSTIFIED[name]) - 1, Verdict.JUSTIFIED)


@pytest.mark.parametrize("why", UNJUSTIFIED)
def test_a_permit_is_unjustified_where(why: str) -> None:
    assert judge(*UNJUSTIFIED[why]) == Finding(len(UNJUSTIFIED[why]) - 1, Verdict.UNJUSTIFIED, why)


@pytest.mark.parametrize("name", ALSO)
def test_a_permit_cannot_rest_on(name: str) -> None:
    assert judge(*ALSO[name]).verdict is Verdict.UNJUSTIFIED


@pytest.mark.parametrize("name", UNOPENED)
def test_nothing_is_guessed_where_one_does_not_know(name: str) -> None:
    assert judge(*UNOPENED[name]).verdict is Verdict.UNOPENED


def test_entries_that_are_not_here_leave_it_open() -> None:
    replay = Replay("2026")
    replay.gap(0, 256)
    assert replay.take(300, *permit("2026:4")) == Finding(300, Verdict.UNOPENED, "its basis is not here")
    replay.take(301, *granted())
    replay.gap(302, 400)
    found = replay.take(400, *permit("2026:301"))
    assert found == Finding(400, Verdict.UNOPENED, "entries between it and its basis are not here")


def test_what_is_known_to_be_wrong_is_said_even_where_more_is_unknown() -> None:
    assert judge(granted("granted", "handle", exp=T), permit("2026:0")).verdict is Verdict.UNJUSTIFIED


def test_refusals_and_other_entries_are_not_judged() -> None:
    replay = Replay("2026")
    assert replay.take(0, entry("access.read", outcome="deny", c={"basis": "00"}), {}) is None
    assert replay.take(1, entry("resource.written", c={"content": "00"}), {}) is None
    assert replay.findings == []


def test_a_refused_transition_is_reported_and_grants_nothing() -> None:
    replay = Replay("2026")
    for index, step in enumerate([granted(), granted("revoked"), granted("amended")]):
        replay.take(index, *step)
    assert replay.refused == [2]
    found = replay.take(3, *permit("2026:2"))
    assert found is not None
    assert found.why == "its basis was refused"
