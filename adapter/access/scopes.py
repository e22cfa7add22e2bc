"""SMART scopes: what a token lets its client ask for, before any patient's consent is looked at.

Grammar: `(patient|user|system)/(Type|*).[c][r][u][d][s]`, the letters in that order, optionally `?param=value&…`, which
the search matcher judges on the opened resource. The forms of SMART v1 are read too: `.read` = `rs`, `.write` = `cud`,
`.*` = `cruds`. Whatever else a scope string holds is dropped. Scopes of one type are or-ed; a client's registration
narrows them (`intersect`).

`patient/` scopes need a launch patient, which no token of this node carries yet: they are kept and open nothing.

Source: SMART App Launch 2.2 §Scopes for requesting FHIR resources; access chapter §4.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Letter = Literal["c", "r", "u", "d", "s"]

_FORM = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})"
    r"\.(?P<letters>read|write|\*|search|create|(?=[cruds])c?r?u?d?s?)(?:\?(?P<query>[!-~]{1,1024}))?"
)
_SPELLED = {"read": "rs", "write": "cud", "*": "cruds", "search": "s", "create": "c"}
LETTERS = "cruds"
OPENING = frozenset({"system", "user"})  # contexts whose scopes open something: see above
MAX_SCOPES = 200  # of one token: bounds what one request makes us compare


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope. `query` is the text behind the question mark, or empty."""

    context: str
    type: str
    letters: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.context}/{self.type}.{self.letters}" + (f"?{self.query}" if self.query else "")


def parse(text: str) -> tuple[Scope, ...]:
    """The scopes in a blank-separated string; what does not fit the grammar is left out."""
    scopes = []
    for word in text.split()[:MAX_SCOPES]:
        match = _FORM.fullmatch(word)
        if match is None:
            continue
        letters = _SPELLED.get(match["letters"], match["letters"])
        scope = Scope(match["context"], match["type"], letters, match["query"] or "")
        if scope.query and scope.type == "*":
            continue  # a parameter belongs to a type: a query over every type has no one meaning
        scopes.append(scope)
    return tuple(scopes)


def intersect(asked: Iterable[Scope], registered: Iterable[Scope]) -> tuple[Scope, ...]:
    """What is both asked and registered, in the order asked; two queries on one type must both hold."""
    registered = tuple(registered)
    found = [narrowed for ask in asked for grant in registered if (narrowed := _narrow(ask, grant)) is not None]
    return tuple(dict.fromkeys(found))


def _narrow(ask: Scope, grant: Scope) -> Scope | None:
    letters = "".join(letter for letter in ask.letters if letter in grant.letters)
    if ask.context != grant.context or not letters:
        return None
    if "*" not in (ask.type, grant.type) and ask.type != grant.type:
        return None
    name = grant.type if ask.type == "*" else ask.type
    query = "&".join(dict.fromkeys(part for part in (ask.query, grant.query) if part))
    return Scope(ask.context, name, letters, query)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the scopes say of one type and letter: nothing, everything, or what one of `queries` finds."""

    permitted: bool
    queries: tuple[str, ...] = ()


_NOTHING = Judgement(False)


class Scopes:
    """The scopes of one actor, asked by type and letter. Answers are kept: an actor lives for a minute of requests."""

    __slots__ = ("_judged", "granted")

    def __init__(self, granted: tuple[Scope, ...]) -> None:
        self.granted = granted
        self._judged: dict[tuple[str, str], Judgement] = {}

    def judge(self, resource_type: str, letter: Letter) -> Judgement:
        """May this actor use `letter` on `resource_type`, and does a query narrow it?"""
        key = (resource_type, letter)
        judged = self._judged.get(key)
        if judged is None:
            judged = self._judged[key] = self._judge(resource_type, letter)
        return judged

    def _judge(self, resource_type: str, letter: str) -> Judgement:
        fitting = [
            scope
            for scope in self.granted
            if scope.context in OPENING and scope.type in ("*", resource_type) and letter in scope.letters
        ]
        if not fitting:
            return _NOTHING
        if any(not scope.query for scope in fitting):
            return Judgement(True)
        return Judgement(True, tuple(dict.fromkeys(scope.query for scope in fitting)))

    def of_system(self) -> "Scopes":
        """Those of the `system/` context alone: for what sees the whole organisation."""
        return Scopes(tuple(scope for scope in self.granted if scope.context == "system"))

    def __str__(self) -> str:
        return " ".join(map(str, self.granted))
