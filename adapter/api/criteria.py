"""The criteria of a conditional write or reference, read: `If-None-Exist`, or the query behind the type.

What is read here is searched by `adapter/store/criteria.py`, under the lock that writes. Parameters that choose nothing
(`_count`, `_sort`) have no place in criteria. Source: FHIR R4 §3.1.0.8.1, §3.1.0.5.2; fhir chapter §8.
"""

from dataclasses import replace

from adapter.api.call import Pairs, parse_pairs
from adapter.errors import PreconditionFailed
from adapter.store.criteria import too_wide
from mappings.fhir.schema import schema
from mappings.fhir.search import Criterion, Query, parse, targets
from mappings.fhir.search_operands import Operand, Reference

PATIENT = frozenset({"Patient"})  # what `patient` points to, whatever else its definition lists


def criteria(kind: str, asked: str | Pairs, base: str) -> Query:
    """Raises PreconditionFailed for what is too wide or chooses nothing, SearchError for a bad value."""
    query = parse(kind, parse_pairs(asked) if isinstance(asked, str) else asked, base=base)
    if query.results.asked or not query.criteria:
        raise too_wide()
    return query


def key(query: Query) -> tuple[str, frozenset[str]]:
    """Equal for criteria that ask the same, in whatever order and spelling: escapes, a prefix or a type that goes
    without saying, one alternative before the other.
    """
    return query.type, frozenset(map(_asked, query.criteria))


def _asked(criterion: Criterion) -> str:
    """What one criterion asks, in one spelling."""
    if criterion.has is not None:
        return repr(("_has", criterion.has.source, criterion.has.code, _asked(criterion.has.rest)))
    kinds = PATIENT if criterion.code == "patient" else targets(criterion.param)
    if criterion.chain is not None:
        chain = sorted((kind, _asked(one)) for kind, one in criterion.chain.items() if kind in kinds)
        return repr((criterion.code, chain))
    narrowed = criterion.modifier in schema().resource_types
    operands = sorted({repr(_typed(one, kinds)) for one in criterion.operands})
    return repr((criterion.code, "" if narrowed else criterion.modifier, operands))


def _typed(operand: Operand, kinds: frozenset[str]) -> Operand:
    """A reference with its type, also where there is only one that it can have."""
    if not isinstance(operand, Reference) or operand.id is None or operand.type is not None or len(kinds) > 1:
        return operand
    return replace(operand, type=min(kinds))


def several() -> PreconditionFailed:
    return PreconditionFailed("the criteria match more than one resource", code="several", issue="multiple-matches")
