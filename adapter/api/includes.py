"""What a search shows beside its matches, and what it follows to judge them: `_include`, `_revinclude`, chains, `_has`.

Every resource that is followed to passes the gate by its own type and owner (`Sight.shown`): what is hidden is not
there, for an include as for a chain. `:iterate` goes on from what was included, three steps in all; a page holds at
most 1,000 included resources, and says `incomplete` where there were more.

What refers to a match is looked for in one compartment: among what belongs to the patients on the page, and what
belongs to nobody. From a type that belongs to no patient to one that does, it would be a search of the population:
400 `too-costly`.
Source: FHIR R4 search.html §3.1.1.5.4 (_include), §3.1.1.4.4 (chains, _has); fhir chapter §4, §5, §10.
"""

from collections.abc import Iterable, Iterator, Sequence

from adapter.access.disclose import Disclosed, Included, Sight
from adapter.seal.keyring import SHARED
from adapter.store.follow import Follower
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json, decode
from mappings.fhir.compartments import ownable
from mappings.fhir.schema import schema
from mappings.fhir.search import Include, Query, Results, SearchError, targets

MAX_INCLUDED = 1000  # a page
STEPS = 3


def check(query: Query) -> None:
    """Raises SearchError for what would search the population."""
    sources = [one.has.source for one in query.criteria if one.has is not None]
    sources += [rule.source for rule in query.results.revinclude]
    if not all(answerable(query.type, source) for source in sources):
        raise SearchError("too-costly", "what refers to this belongs to every patient: begin with one of them")


def answerable(kind: str, source: str) -> bool:
    """Whether what refers to a type from another one can be looked for in one compartment."""
    return ownable(kind) or not ownable(source)


class Following:
    """The references of one search, followed in one snapshot as one asker sees it."""

    def __init__(self, follower: Follower, sight: Sight, anchored: Sequence[int]) -> None:
        self._follower, self._sight, self._anchored = follower, sight, anchored

    # --- chains, _has ---------------------------------------------------------------------------------------------

    def resolve(self, reference: str) -> Json | None:
        """What a chain goes on from."""
        sealed = self._follower.target(reference)
        item = None if sealed is None else self._sight.shown(sealed)
        return None if item is None else _opened(item)

    def referrers(self, resource: Json, kind: str, code: str) -> Iterator[Json]:
        """What `_has` looks at: in the compartment that the resource itself is in."""
        target = self._follower.target(f"{resource['resourceType']}/{resource['id']}")
        if target is None:
            return
        for sealed in self._follower.referrers(kind, code, self._follower.family(target.owner), [target]):
            item = self._sight.shown(sealed)
            if item is not None and self._follower.refers(_opened(item), code, target):
                yield _opened(item)

    # --- _include, _revinclude ------------------------------------------------------------------------------------

    def include(self, results: Results, matches: Sequence[Disclosed]) -> Included:
        """What a page shows beside its matches."""
        seen = {item.rid for item in matches}
        found: list[Disclosed] = []
        last: Sequence[Disclosed] = matches
        for step in range(STEPS):
            new: list[Disclosed] = []
            for item in self._beside(results, last, iterated=step > 0):
                if item.rid not in seen:
                    seen.add(item.rid)
                    new.append(item)
                if len(found) + len(new) > MAX_INCLUDED:
                    break
            found += new
            last = new
            if not new or len(found) > MAX_INCLUDED:
                break
        return Included(found[:MAX_INCLUDED], len(found) > MAX_INCLUDED)

    def _beside(self, results: Results, last: Sequence[Disclosed], *, iterated: bool) -> Iterator[Disclosed]:
        for rule in results.include:
            if rule.iterate or not iterated:
                yield from self._forward(rule, last)
        for rule in results.revinclude:
            if rule.iterate or not iterated:
                yield from self._backward(rule, last)

    def _forward(self, rule: Include, last: Sequence[Disclosed]) -> Iterator[Disclosed]:
        """What these point to."""
        for item in last:
            if item.type != rule.source:
                continue
            for reference in self._follower.references(_opened(item), rule.code):
                sealed = self._follower.target(reference)
                if sealed is not None and rule.target in (None, sealed.type):
                    yield from self._shown((sealed,))

    def _backward(self, rule: Include, last: Sequence[Disclosed]) -> Iterator[Disclosed]:
        """What points to these."""
        wanted = {rule.target} if rule.target else targets(schema().params(rule.source)[rule.code])
        found = [self._follower.target(f"{item.type}/{item.id}") for item in last if item.type in wanted]
        pointed = [one for one in found if one is not None]
        among = {owner: None for item in last for owner in self._follower.family(item.owner)}
        for sealed in self._follower.referrers(rule.source, rule.code, (*among, *self._anchored, SHARED), pointed):
            for item in self._shown((sealed,)):
                if any(self._follower.refers(_opened(item), rule.code, one) for one in pointed):
                    yield item

    def _shown(self, found: Iterable[Sealed]) -> Iterator[Disclosed]:
        for sealed in found:
            item = self._sight.shown(sealed)
            if item is not None:
                yield item


def _opened(item: Disclosed) -> Json:
    return decode(item.body) if item.resource is None else item.resource
