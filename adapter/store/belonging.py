"""Under whose key a resource belongs: the owner rule, with what is stored and what this unit brings.

`mappings/fhir/compartments.py` says which patients a resource names, or what it follows; here names become owners. Who
cannot be placed is refused: what concerns a patient never goes under the key that the organisation shares.
Source: fhir chapter §5 (owner rule).
"""

from collections.abc import Callable, Mapping, Set

from adapter.errors import Unprocessable
from adapter.seal.keyring import SHARED
from adapter.store import owners
from adapter.store.engine import Hot
from adapter.store.names import Known, Names, is_local, local
from adapter.store.unit import Convert, Delete, Entry
from mappings.fhir.codec import Json
from mappings.fhir.compartments import Follow, deciding_place, owner_references, rules

FOLLOWERS = frozenset(kind for kind, rule in rules().items() if rule.follow and not rule.patient)
STEPS = 8  # from a resource to the one whose owner it has


class Belonging:
    """The owners of one unit's resources. `entered` is what the unit brings, `row` sees that a patient has a row."""

    def __init__(self, hot: Hot, names: Names, entered: Mapping[str, Json], row: Callable[[Known], None]) -> None:
        self._hot, self._names, self._entered, self._row = hot, names, entered, row
        self._members: dict[int, Set[int]] = {}

    def owner_of(self, known: Known, body: Json) -> int:
        """Under whose key this belongs. Raises Unprocessable when nobody can tell, NeedKeys for a new owner."""
        if known.type == "Patient":
            self._names.settle_patient(known)
            return known.owner
        found = self._owners(body, STEPS)
        if len(found) < 2:
            return next(iter(found), SHARED)
        patients = frozenset(found)
        return owners.composite(self._hot, patients) or self._names.new_owner(owners.COMPOSITE, patients)

    def _owners(self, body: Json, steps: int) -> Set[int]:
        said = owner_references(body)
        found = set[int]()
        for reference in said.references if isinstance(said, Follow) else said:
            try:
                found |= self._followed(reference, steps) if isinstance(said, Follow) else {self._patient(reference)}
            except Unprocessable as error:  # also about what this follows: the place is the one that leads there
                error.expression = deciding_place(body, reference)
                raise
        return found

    def _patient(self, reference: str) -> int:
        """The owner that a patient is."""
        if not is_local(reference) or "?" in reference:
            raise _unknown("its patient is not named as Patient/id of this server")
        patient = self._names.target(local(reference))
        self._names.settle_patient(patient)
        self._row(patient)
        return patient.owner

    def _followed(self, reference: str, steps: int) -> Set[int]:
        """The owners of what a resource points to, stored or in this unit."""
        if not is_local(reference) or not steps:
            raise _unknown("what this points to leads to no patient within a few steps")
        target = self._names.target(local(reference))
        if not target.ver and (body := self._entered.get(local(reference))) is not None:
            return self._owners(body, steps - 1)
        if target.new and not target.ver:
            raise _unknown("what this points to is not stored here")
        if target.owner not in self._members:
            self._members[target.owner] = owners.members(self._hot, target.owner) or {target.owner} - {SHARED}
        return self._members[target.owner]


def _unknown(why: str) -> Unprocessable:
    return Unprocessable(f"whose data this is cannot be told: {why}", code="owner-unknown", issue="value")


def follows(entry: Entry) -> bool:
    """Whether an entry has the owner of what it points to, and nothing else to go by."""
    if isinstance(entry, Delete):
        return False
    body = entry.mapped.body if isinstance(entry, Convert) else entry.resource
    return body["resourceType"] in FOLLOWERS
