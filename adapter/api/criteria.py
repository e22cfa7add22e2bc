"""The criteria of a conditional write or reference, read: `If-None-Exist`, or the query behind the type.

What is read here is searched by `adapter/store/criteria.py`, under the lock that writes. Parameters that choose nothing
(`_count`, `_sort`) have no place in criteria. Source: FHIR R4 §3.1.0.8.1, §3.1.0.5.2; fhir chapter §8.
"""

from adapter.api.call import Pairs, parse_pairs
from adapter.errors import PreconditionFailed
from adapter.store.criteria import too_wide
from mappings.fhir.search import Query, parse


def criteria(kind: str, asked: str | Pairs, base: str) -> Query:
    """Raises PreconditionFailed for what is too wide or chooses nothing, SearchError for a bad value."""
    query = parse(kind, parse_pairs(asked) if isinstance(asked, str) else asked, base=base)
    if query.results.asked or not query.criteria:
        raise too_wide()
    return query


def key(query: Query) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Equal for criteria that ask the same."""
    return query.type, tuple(sorted(query.applied))


def several() -> PreconditionFailed:
    return PreconditionFailed("the criteria match more than one resource", code="several", issue="multiple-matches")
