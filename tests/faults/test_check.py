"""The checker finds what it is for: planted loss, doubling, reordering and alteration (operations chapter §8)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.check import Effect, Kept, Sent, check

Run = tuple[list[Sent], list[Kept], list[Effect], list[str], list[str]]


def healthy() -> Run:
    sent = [Sent(patient, number, f"{patient}{number}".encode()) for number in (1, 2, 3) for patient in ("a", "b")]
    kept = [Kept(seq, message.body, "delivered") for seq, message in enumerate(sent, 1)]
    effects = [Effect(m.patient, m.number, m.number, f"u Patient/{m.patient}/_history/{m.number} 00") for m in sent]
    lines = [*(effect.content_line for effect in effects), "c Location/1/_history/1 00"]
    return sent, kept, effects, lines, lines.copy()


def lost_in_the_journal(run: Run) -> None:
    del run[1][2]


def lost_in_the_store(run: Run) -> None:
    del run[2][3]


def lost_in_the_log(run: Run) -> None:
    del run[4][0]


def lost_in_the_store_alone(run: Run) -> None:
    del run[3][-1]


def doubled_in_the_journal(run: Run) -> None:
    run[1].append(replace(run[1][0], seq=99))


def doubled_in_the_store(run: Run) -> None:
    run[2].append(replace(run[2][0], version=4, number=1))


def doubled_in_the_log(run: Run) -> None:
    run[4].append(run[4][0])


def reordered(run: Run) -> None:
    first, third = run[2][0], run[2][2]
    run[2][0], run[2][2] = replace(first, number=third.number), replace(third, number=first.number)


def altered_in_the_journal(run: Run) -> None:
    run[1][0] = replace(run[1][0], body=b"a1 altered")


def altered_in_the_store(run: Run) -> None:
    run[2][0] = replace(run[2][0], content_line="u Patient/a/_history/1 ff")
    run[3][0] = run[2][0].content_line


def altered_in_the_log(run: Run) -> None:
    run[4][-1] = "c Location/1/_history/1 ff"


def invented(run: Run) -> None:
    run[2].append(Effect("a", 4, 4, "u Patient/a/_history/4 00"))


def left_half_way(run: Run) -> None:
    run[1][0] = replace(run[1][0], state="mapped")


def test_a_healthy_run_has_no_violation() -> None:
    assert check(*healthy()) == []


@pytest.mark.parametrize(
    ("plant", "invariant"),
    [
        (lost_in_the_journal, "I1"),
        (lost_in_the_store, "I3"),
        (lost_in_the_log, "I4"),
        (lost_in_the_store_alone, "I4"),
        (doubled_in_the_journal, "I1"),
        (doubled_in_the_store, "I3"),
        (doubled_in_the_log, "I4"),
        (reordered, "I3"),
        (altered_in_the_journal, "I1"),
        (altered_in_the_store, "I4"),
        (altered_in_the_log, "I4"),
        (invented, "I3"),
        (left_half_way, "I2"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_planted_fault_is_found(plant: Callable[[Run], None], invariant: str) -> None:
    run = healthy()
    plant(run)
    assert invariant in {violation.invariant for violation in check(*run)}
