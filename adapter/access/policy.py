"""The house rules: what is permitted where no consent decides, and how the log knows them.

Five policies stand in the log from the first entries on (`policy.adopted`), so that each permit has a basis: `inside`
and `across` (the custodian's own organisation, every other one), `subject` (the patient and her proxy), `audit`, and
`shared` (resources that belong to no patient). A policy is a small document; the log holds its digest. Roles decide by
what the log adopted last, not by the configuration: `changes` says what to retire and adopt to bring the two together.

Rules, of which a policy names one: `deny`; `treatment`: purpose TREAT or ETREAT and a clinical role; `all`: any
purpose of the client; `break-glass`: nothing without an open session, and there are no sessions yet; `own`: the
custodian alone.

Source: access chapter §7 (defaults); IHE PCF `Policy-basic-normal` and its siblings; ledger chapter §5, §6.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

import msgspec

from adapter.errors import IntegrityFault

NAMES = ("inside", "across", "subject", "audit", "shared")
_MARK = b'"type":"policy.'
TREATMENT = ("ETREAT", "TREAT")  # http://terminology.hl7.org/CodeSystem/v3-ActReason


class Rules(Protocol):
    """The two settings that choose a rule (`[access]`)."""

    @property
    def inside(self) -> str: ...
    @property
    def across(self) -> str: ...


@cache
def clinical_roles() -> frozenset[str]:
    """The roles that count as clinical, from `roles.csv`."""
    text = (resources.files(__package__) / "roles.csv").read_text("utf-8")
    return frozenset(row["role"] for row in csv.DictReader(text.splitlines()) if row["clinical"] == "yes")


@dataclass(frozen=True, slots=True)
class Adopted:
    """A policy as the log adopted it: its rule, the digest of its document and the reference of its entry."""

    name: str
    rule: str
    digest: str
    ref: str


Policies = Mapping[str, Adopted]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision where no consent speaks. `basis` is the adopting entry's reference, empty for a deny."""

    permit: bool
    basis: str = ""


DENY = Verdict(False)


def document(name: str, rule: str) -> bytes:
    """The bytes of one policy, whose digest the log adopts. Adding a role or a purpose makes another policy."""
    body: dict[str, Any] = {"v": 1, "name": name, "rule": rule}
    if rule == "treatment":
        body |= {"purposes": list(TREATMENT), "roles": sorted(clinical_roles())}
    return msgspec.json.encode(body, order="sorted")


def documents(rules: Rules) -> dict[str, bytes]:
    """The five documents that the settings ask for."""
    chosen = {"inside": rules.inside, "across": rules.across, "subject": "deny", "audit": "deny", "shared": "own"}
    return {name: document(name, rule) for name, rule in chosen.items()}


@cache
def _known() -> dict[str, tuple[str, str]]:
    """digest → (name, rule) of every document that this version can hold to."""
    rules = {
        "inside": ("deny", "treatment", "all", "break-glass"),
        "across": ("deny", "treatment", "all", "break-glass"),
        "subject": ("deny",),
        "audit": ("deny",),
        "shared": ("own",),
    }
    return {digest(document(name, rule)): (name, rule) for name, choice in rules.items() for rule in choice}


def digest(policy: bytes) -> str:
    return hashlib.sha256(policy).hexdigest()


class Folding:
    """The policies in force after the entries taken so far; entries come in log order, as (reference, bytes)."""

    def __init__(self) -> None:
        self.adopted: dict[str, Adopted] = {}

    def take(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Raises IntegrityFault when an adopted document is none that this version knows: it must not guess."""
        for ref, body in entries:
            if _MARK in body:  # cheap, and most entries of a log are accesses
                self._take(ref, msgspec.json.decode(body))

    def _take(self, ref: str, entry: Mapping[str, Any]) -> None:
        facts = entry.get("d", {})
        if entry["type"] == "policy.adopted":
            known = _known().get(str(facts.get("digest")))
            if known is None or known[0] != facts.get("name"):
                raise IntegrityFault(f"entry {ref} adopts a policy that this version does not know")
            self.adopted[known[0]] = Adopted(known[0], known[1], str(facts["digest"]), ref)
        elif entry["type"] == "policy.retired":
            kept = {name: policy for name, policy in self.adopted.items() if policy.ref != facts.get("of")}
            self.adopted = kept


@dataclass(frozen=True, slots=True)
class Change:
    """One policy to adopt, and the one of the same name that ends with it."""

    name: str
    digest: str
    retires: Adopted | None


def changes(adopted: Policies, wanted: Mapping[str, bytes]) -> tuple[Change, ...]:
    """What to append so that the log says what the settings say; empty when it does."""
    found = []
    for name, policy in wanted.items():
        current, new = adopted.get(name), digest(policy)
        if current is None or current.digest != new:
            found.append(Change(name, new, current))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Asker:
    """The part of an asking that a house rule looks at."""

    own: bool
    roles: frozenset[str]
    purposes: tuple[str, ...]


def default(policies: Policies, asker: Asker, *, shared: bool) -> Verdict:
    """The house rule for this asker: `shared` for what belongs to no patient, else inside or across."""
    policy = policies.get("shared" if shared else "inside" if asker.own else "across")
    if policy is None or not _permits(policy.rule, asker):
        return DENY
    return Verdict(True, policy.ref)


def _permits(rule: str, asker: Asker) -> bool:
    if rule == "own":  # what belongs to no patient is the organisation's own: no consent can open it to others
        return asker.own
    if rule == "treatment":
        return bool(asker.roles & clinical_roles()) and all(purpose in TREATMENT for purpose in asker.purposes)
    return rule == "all"
