"""What a unit of work calls by name: `Type/id` to the row it is, through aliases, with numbers for what is new.

One look-up for all names of a unit; what is not stored gets a number and becomes a row only if something refers to it.
An alias is a second name of one resource: a merged patient's, or a feed's own id of a patient who was known already.
References are rewritten from the alias to the name of what it stands for, so that nothing new hangs on a retired name.

**Who is this patient** (fhir chapter §5): a new Patient id may mean one who is known under another. Its identifiers
(system and value, of a type that identifies) are looked up in the organisation: with one holder the id is an alias of
theirs, with several it is a new Patient and the issue `identity-ambiguous`. Only an equal identifier counts.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from adapter.errors import IntegrityFault
from adapter.seal import envelope
from adapter.seal.blind import keyed_id, token
from adapter.seal.keyring import SHARED, Keyring, NeedKeys
from adapter.store import owners
from adapter.store.engine import Hot, Row
from adapter.store.tables import LOCATOR_OWNER, NUMBERS
from mappings.fhir.codec import Json, decode, encode

_ROW = "SELECT rid, type, fid, owner, ver, deleted, clock FROM resource"
_NEWEST = "SELECT ver, owner, same, body FROM version WHERE rid = ? AND body IS NOT NULL ORDER BY ver DESC LIMIT 1"
_REFERENCE = re.compile(rb'"reference":"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})["/]')


@dataclass(slots=True)
class Known:
    """One resource as this unit sees it. `ver` 0: not yet seen; `new`: without a row. `body` is what is stored."""

    rid: int
    type: str
    fid: bytes = field(repr=False)
    owner: int
    ver: int
    deleted: bool
    clock: bytes | None = field(repr=False)
    id: str | None = field(repr=False, default=None)
    new: bool = False
    same: bytes | None = field(repr=False, default=None)
    body: Json | None = field(repr=False, default=None)

    @property
    def live(self) -> bool:
        return self.ver > 0 and not self.deleted

    @property
    def reference(self) -> str:
        if self.id is None:
            raise RuntimeError("the id of this resource has not been read")
        return f"{self.type}/{self.id}"


class Numbers:
    """Numbers that are used once: drawn in blocks, in the transaction that uses them."""

    __slots__ = ("_end", "_hot", "_next")

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._next = self._end = 0

    def draw(self) -> int:
        if self._next == self._end:
            self._next = self._hot.draw()
            self._end = self._next + NUMBERS
        self._next += 1
        return self._next - 1


class Names:
    """The names of one unit."""

    def __init__(self, hot: Hot, keyring: Keyring, at: int) -> None:
        self._hot, self._keyring, self._at = hot, keyring, at
        self._org = keyring.organisation()
        self._known: dict[str, Known] = {}
        self._rows: dict[int, Known] = {}
        self._targets: dict[str, Known] = {}  # alias -> what it stands for
        self.numbers = Numbers(hot)

    def look_up(self, references: Iterable[str]) -> None:
        """Fetch what is stored under these names, in one go."""
        fids: dict[bytes, str] = {}
        for reference in references:
            if reference not in self._known:
                resource_type, _, logical_id = reference.partition("/")
                fids[keyed_id(self._org.locate, resource_type, logical_id)] = reference
        wanted = list(fids)
        for row in self._hot.each_in(f"{_ROW} WHERE fid IN (…)", wanted):
            self._keep(fids[row[2]], self._rows.get(row[0]) or _from(row))
        for fid, rid in self._hot.each_in("SELECT fid, rid FROM alias WHERE fid IN (…)", wanted):
            self._targets[fids[fid]] = self.by_rid(rid)
        for fid, reference in fids.items():
            if reference not in self._known:
                rid, resource_type = self.numbers.draw(), reference.partition("/")[0]
                self._keep(reference, Known(rid, resource_type, fid, SHARED, 0, False, None, new=True))

    def get(self, reference: str) -> Known:
        """What carries this very name, or would."""
        if reference not in self._known:
            self.look_up((reference,))
        return self._known[reference]

    def target(self, reference: str) -> Known:
        """What this name stands for: through an alias."""
        known = self.get(reference)
        return self._targets.get(reference, known)

    def by_rid(self, rid: int) -> Known:
        """The row of this number; its name is known once it was read."""
        if (known := self._rows.get(rid)) is None:
            row = self._hot.one(f"{_ROW} WHERE rid = ?", (rid,))
            if row is None:
                raise RuntimeError("an alias, edge or token points to no row")
            known = self._rows[rid] = _from(row)
        return known

    def aliases(self) -> Iterator[tuple[str, Known]]:
        """The names of this unit that are second names."""
        yield from self._targets.items()

    def stand_for(self, reference: str, target: Known) -> None:
        """From now on this name stands for `target`."""
        self._targets[reference] = target

    def stand_alone(self, reference: str) -> None:
        """This name stands for itself again."""
        self._targets.pop(reference, None)

    def read(self, known: Known) -> Json | None:
        """The stored content of a live resource, opened once; its name is learnt from it. Raises NeedKeys."""
        if known.body is None and known.ver:
            row = self._hot.one(_NEWEST, (known.rid,))
            if row is None or (not known.deleted and row[0] != known.ver):
                raise IntegrityFault("a version row is missing: it was removed behind the store's back")
            place = envelope.Row(self._org.org, known.type, known.fid, row[0])
            body = decode(envelope.unseal(self._keyring.owner(row[1]), place, row[3]))
            known.id = body["id"]
            if known.deleted:
                return None
            known.same, known.body = row[2], body
        return known.body

    def new_owner(self, kind: str, members: Collection[int] = ()) -> int:
        """A fresh owner whose key is durable. Raises NeedKeys when the stock is empty."""
        keys = self._keyring.new_owner()
        owners.add(self._hot, self._org.org, keys.owner, kind, keys.gen, self._at, members)
        return keys.owner

    def settle_patient(self, known: Known) -> None:
        """Give a Patient that has no row yet an owner of her own."""
        if known.new and known.owner == SHARED:
            known.owner = self.new_owner(owners.PATIENT)

    def recognise(self, patient: Json, match: frozenset[str]) -> list[Known]:
        """The known patients who hold one of these identifiers, each named once, whatever was merged."""
        found: dict[int, Known] = {}
        for system, value in _identifying(patient, match):
            for holder in self.holders("Patient", system, value):
                merged = self._merged_into(holder)
                found[merged.rid] = merged
        return list(found.values())

    def holders(self, resource_type: str, system: str, value: str) -> list[Known]:
        """What of a type carries this identifier now; a token was only a promise, here it is read. Raises NeedKeys."""
        tok = token(self._org.locate, resource_type, "identifier", f"{system.casefold()}|{value.casefold()}")
        rows = self._hot.all("SELECT rid FROM token WHERE owner = ? AND tok = ? ORDER BY rid", (LOCATOR_OWNER, tok))
        found = [self.by_rid(rid) for (rid,) in rows]
        return [one for one in found if one.type == resource_type and _holds(self.read(one), system, value)]

    def _merged_into(self, known: Known) -> Known:
        row = self._hot.one("SELECT rid FROM alias WHERE fid = ?", (known.fid,))
        if row is None:
            return known
        survivor = self.by_rid(row[0])
        self.read(survivor)
        return survivor

    def _keep(self, reference: str, known: Known) -> None:
        known.id = reference.partition("/")[2]
        self._known[reference] = self._rows[known.rid] = known


def _from(row: Row) -> Known:
    return Known(row[0], row[1], row[2], row[3], row[4], bool(row[5]), row[6])


def _identifying(patient: Json, match: frozenset[str]) -> Iterator[tuple[str, str]]:
    for identifier in patient.get("identifier", ()):
        system, value = identifier.get("system"), identifier.get("value")
        if identifier.get("use") == "old":
            continue  # a merge gives the survivor the retired number: that names whom it was taken from
        kinds = [coding.get("code", "") for coding in identifier.get("type", {}).get("coding", ())]
        if system and value and any(kind in match or _national(kind) for kind in kinds):
            yield system, value


def _national(kind: str) -> bool:
    """NNxxx of table 0203: a person's number in a country, xxx its ISO 3166 code."""
    return len(kind) == 5 and kind.startswith("NN") and kind.isalpha() and kind.isupper()


def _holds(body: Json | None, system: str, value: str) -> bool:
    held = (body or {}).get("identifier", ())
    return any(one.get("system") == system and one.get("value") == value for one in held)


def references(*resources: Json) -> set[str]:
    """Every local reference (`Type/id`) in these resources.

    Read off their encoding, five times as fast as a walk: a quote inside a string is escaped there, so no text can look
    like a member.
    """
    return {found.decode() for found in _REFERENCE.findall(encode(resources))}


def is_local(reference: str) -> bool:
    """`Type/id`, with or without a version; not `#contained`, not a URL."""
    head, slash, tail = reference.partition("/")
    return bool(slash and tail) and head.isalpha() and head[0].isupper()


def local(reference: str) -> str:
    """Without its version."""
    return reference.partition("/_history/")[0]


def renamed(node: Json, names: dict[str, str], links: dict[str, str]) -> Json:
    """A copy in which references go by their new names; `links` are the names for a Patient's own `link`.

    A link says which record replaces which: it names the retired one, which a rewriting would turn into itself.
    """
    copy = {name: _renamed(value, names) for name, value in node.items() if name != "link"}
    if "link" in node:
        copy["link"] = _renamed(node["link"], links if node.get("resourceType") == "Patient" else names)
    return copy


def _renamed(node: object, names: dict[str, str]) -> object:
    if type(node) is dict:
        copy = {name: _renamed(value, names) for name, value in node.items()}
        reference = copy.get("reference")
        if type(reference) is str and (name := names.get(local(reference))):
            copy["reference"] = name
        return copy
    return [_renamed(item, names) for item in node] if type(node) is list else node


def need(keyring: Keyring, wanted: Iterable[int]) -> None:
    """Ask for all keys of a unit at once. Raises NeedKeys."""
    if missing := keyring.missing(wanted):
        raise NeedKeys(missing)
