"""The blind index of one resource: which tokens and which edges its content has, and what a search may look for.

Tier by tier (fhir chapter §5):
- T1, under the organisation's locator key, found without knowing the patient: `identifier` of every type, canonical
  URLs, and one token of a Patient's normalised family name with her full birth date.
- T2, under the owner's index key: every other code, URI, external or logical reference; dates by month and year.
- T0: a reference to a resource kept here is an edge, in clear between keyed ids. What every resource of a patient says
  (`patient`, `subject`) is no edge: its owner says it already.
- T3: numbers, quantities, strings, composites are not indexed; they are opened and matched.

A token is a promise in one direction only: what matches has the token, what has the token need not match. So values are
casefolded whatever their system says, and the exact matcher judges the rest.

Dates: a value has a token for each month and each year that it touches. Over 36 months it has wide years instead, over
50 years or without an end the token `long`; each cover of a question includes these, so a long span is never missed.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from adapter.seal.blind import Mac, name_of, token_of
from adapter.store.tables import LOCATOR_OWNER
from mappings.fhir.codec import Json
from mappings.fhir.schema import schema
from mappings.fhir.search import (
    DateValue,
    ReferenceValue,
    TokenValue,
    UriValue,
    Value,
    codes,
    extract,
    normalise,
)

MONTHS = 36  # a value that touches more has wide years
YEARS = 50  # and beyond this, `long`
LONG = "long"
NAME_AND_BIRTH = "family$birthdate"
LOCATED = frozenset({"identifier", "url"})
OWNER_SAYS = frozenset({"patient", "subject"})
# R4 has parameters that are two others together; a search for one asks for the postings of both
COMBINED: Mapping[str, tuple[str, ...]] = {
    "combo-code": ("code", "component-code"),
    "combo-value-concept": ("value-concept", "component-value-concept"),
    "combo-data-absent-reason": ("data-absent-reason", "component-data-absent-reason"),
}
INDEXED_KINDS = frozenset({"token", "date", "reference", "uri"})

Token = tuple[int, int]  # owner, tok


class Postings(NamedTuple):
    """What the index holds of one resource: (owner, token) pairs, and (parameter, Type/id) edges."""

    tokens: set[Token]
    edges: set[tuple[str, str]]


NO_POSTINGS = Postings(set(), set())


class Speller:
    """Tokens under one owner's key. Remembers them: the results of one order share most of their codes and dates."""

    __slots__ = ("_index", "_known", "_locate", "owner")

    def __init__(self, owner: int, index: Mac, locate: Mac) -> None:
        self.owner, self._index, self._locate = owner, index, locate
        self._known: dict[str, int] = {}

    def token(self, name: str) -> Token:
        tok = self._known.get(name)
        if tok is None:
            tok = self._known[name] = token_of(self._index(name.encode()))
        return self.owner, tok

    def located(self, name: str) -> Token:
        return LOCATOR_OWNER, token_of(self._locate(name.encode()))


def postings(resource: Json, speller: Speller) -> Postings:
    """Everything that the index shall hold of a resource of this owner."""
    resource_type = resource["resourceType"]
    tokens: set[Token] = set()
    edges: set[tuple[str, str]] = set()
    prefixes = _prefixes(resource_type)
    for param, values in extract(resource_type, resource, _indexed(resource_type)).items():
        prefix = prefixes[param]
        make = speller.located if param in LOCATED else speller.token
        for value in values:
            if type(value) is ReferenceValue and value.id is not None:
                if param not in OWNER_SAYS:
                    edges.add((param, f"{value.type}/{value.id}"))
            else:
                for text in spellings(value):
                    tokens.add(make(prefix + text))
    if resource_type == "Patient":
        for text in names_and_births(resource):
            tokens.add(speller.located(name_of("Patient", NAME_AND_BIRTH, text)))
    return Postings(tokens, edges)


def identities(resource: Json) -> Iterator[str]:
    """The names of the tokens that a search of the whole organisation finds it by: its identifiers, canonical URLs."""
    resource_type = resource["resourceType"]
    prefixes = _prefixes(resource_type)
    for param, values in extract(resource_type, resource, _indexed(resource_type) & LOCATED).items():
        for value in values:
            yield from (prefixes[param] + text for text in spellings(value))


@cache
def _indexed(resource_type: str) -> frozenset[str]:
    return codes(resource_type, INDEXED_KINDS).difference(COMBINED)


@cache
def _prefixes(resource_type: str) -> dict[str, str]:
    return {param: name_of(resource_type, param, "") for param in _indexed(resource_type)}


def spellings(value: Value) -> Iterable[str]:
    """The texts under which a value is found."""
    if isinstance(value, TokenValue):
        return token_spellings(value)
    if isinstance(value, DateValue):
        return date_spellings(value)
    if isinstance(value, UriValue):
        return (value.uri,)
    return reference_spellings(value) if isinstance(value, ReferenceValue) else ()


def token_spellings(value: TokenValue) -> tuple[str, ...]:
    """`code` and, where the resource names a system, `system|code`."""
    if value.code is None:
        return ()
    code = value.code.casefold()
    if value.system is None or value.implied:
        return (code,)
    return code, f"{value.system.casefold()}|{code}"


@cache
def says_system(resource_type: str, param: str) -> bool:
    """Whether each value of a token parameter names its system itself, so that `system|code` finds them all.

    A `code` or `boolean` has the system of its element; it stands in no resource, and in no token.
    """
    expression = schema().params(resource_type)[param].expression or ""
    return all(_says_system(resource_type, branch.strip().strip("()")) for branch in expression.split("|"))


def _says_system(resource_type: str, branch: str) -> bool:
    head, _, kind = branch.partition(" as ")
    first, *names = head.split(".")
    types: tuple[str, ...] = (first,) if first == resource_type else ()
    for name in () if kind else names:
        element = schema().element(types[0], name) if len(types) == 1 else None
        types = element.types if element is not None else ()
    return bool(types) and set((kind,) if kind else types) <= {"CodeableConcept", "Coding"}


def reference_spellings(value: ReferenceValue) -> Iterator[str]:
    """What is elsewhere, and what is named by an identifier only."""
    if value.url is not None:
        yield value.url
    if value.identifier is not None:
        yield from (f"identifier {text}" for text in token_spellings(value.identifier))


def date_spellings(value: DateValue) -> Iterable[str]:
    """Months and years, by what is written: a question is widened by a day, which is more than any zone."""
    if value.start is None or value.end is None:
        return (LONG,)
    if len(value.start) >= 7 and value.start[:7] == value.end[:7]:
        return (value.start[:7], value.start[:4])
    return _span_spellings(_month(value.start, 1), _month(value.end, 12))


def _span_spellings(first: int, last: int) -> Iterable[str]:
    if last < first or last - first >= YEARS * 12:
        return (LONG,)  # a period that ends before it begins is found by any question, and then judged
    years = [f"{year:04}" for year in range(first // 12, last // 12 + 1)]
    if last - first >= MONTHS:
        return [wide(year) for year in years]
    return [*map(month_text, range(first, last + 1)), *years]


def wide(year: str) -> str:
    """A year of a value that is too long for months."""
    return f"{year}+"


def month_text(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}"


def _month(text: str, default: int) -> int:
    """Months since year 0 of a FHIR date; `default` is the month of a bare year."""
    return int(text[:4]) * 12 + (int(text[5:7]) if len(text) >= 7 else default) - 1


def names_and_births(patient: Json) -> Iterator[str]:
    """One text for each family name with the full birth date: nearly unique, and what a border asks with."""
    birth = patient.get("birthDate", "")
    if len(birth) == 10:
        for name in patient.get("name", ()):
            if family := name.get("family"):
                yield f"{normalise(family)}|{birth}"
