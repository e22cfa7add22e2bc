"""The one checker that runs after every fault: what was promised, against what is kept.

It compares four accounts of one run: what the senders hold acknowledgements for, what the journal keeps, which effects
the store shows, and what the log says. Pure, over plain values, so that it can itself be tested with planted faults.
Source: operations chapter §8, invariants I1 to I5.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TERMINAL = frozenset({"delivered", "filtered", "duplicate", "discarded", "logged", "rejected"})
VISIBLY_OPEN = frozenset({"quarantined", "held", "dead"})


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that its sender holds a positive acknowledgement for; `number` rises per patient in order sent."""

    patient: str
    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """One accepted row of the journal, opened, with the state the store gives it."""

    seq: int
    body: bytes
    state: str


@dataclass(frozen=True, slots=True)
class Effect:
    """One version that a message caused: whose, which message's number it carries, and its place in the history."""

    patient: str
    version: int
    number: int
    content_line: str


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    text: str


def check(
    sent: Sequence[Sent],
    kept: Sequence[Kept],
    effects: Sequence[Effect],
    stored: Iterable[str],
    logged: Iterable[str],
) -> list[Violation]:
    """All violations of one run.

    `stored`: the content line of every version in the store, also of those that carry no number. `logged`: the content
    lines that entries of the log commit to, as often as they do.
    """
    return [
        *_journaled_once(sent, kept),
        *_ended_or_open(kept),
        *_effects_once_and_in_order(sent, effects),
        *_stored_and_logged_once(effects, Counter(stored), Counter(logged)),
    ]


def _journaled_once(sent: Sequence[Sent], kept: Sequence[Kept]) -> list[Violation]:
    rows = Counter(row.body for row in kept)
    found = []
    for message in sent:
        name = f"message {message.number} of {message.patient}"
        if rows[message.body] == 0:
            found.append(Violation("I1", f"{name} was acknowledged and is not in the journal"))
        elif rows[message.body] > 1:
            found.append(Violation("I1", f"{name} is in the journal {rows[message.body]} times"))
    strangers = rows.keys() - {message.body for message in sent}
    found += [Violation("I1", "the journal holds a message that nobody sent")] * len(strangers)
    return found


def _ended_or_open(kept: Sequence[Kept]) -> list[Violation]:
    return [
        Violation("I2", f"journal row {row.seq} ended nowhere: {row.state}")
        for row in kept
        if row.state not in TERMINAL | VISIBLY_OPEN
    ]


def _effects_once_and_in_order(sent: Sequence[Sent], effects: Sequence[Effect]) -> list[Violation]:
    promised: dict[str, list[int]] = defaultdict(list)
    shown: dict[str, list[int]] = defaultdict(list)
    for message in sent:
        promised[message.patient].append(message.number)
    for effect in sorted(effects, key=lambda effect: (effect.patient, effect.version)):
        shown[effect.patient].append(effect.number)
    found = []
    for patient in sorted(promised.keys() | shown.keys()):
        times = Counter(shown[patient])
        for number in promised[patient]:
            if times[number] != 1:
                found.append(Violation("I3", f"message {number} of {patient} took effect {times[number]} times"))
        if times.keys() - set(promised[patient]):
            found.append(Violation("I3", f"{patient} shows an effect that no acknowledged message caused"))
        if shown[patient] != sorted(shown[patient]):
            found.append(Violation("I3", f"the effects for {patient} are out of order"))
    return found


def _stored_and_logged_once(effects: Sequence[Effect], stored: Counter[str], logged: Counter[str]) -> list[Violation]:
    found = [
        Violation("I4", f"version {effect.version} of {effect.patient} is not what is stored")
        for effect in effects
        if stored[effect.content_line] != 1
    ]
    for line in sorted(stored.keys() | logged.keys()):
        if (stored[line], logged[line]) != (1, 1):
            found.append(Violation("I4", f"{line} is stored {stored[line]} times and logged {logged[line]} times"))
    return found
