"""What points to a row, by the clear edges between keyed ids.

What belongs to nobody (a doctor, a place) may be pointed to by everybody: there the owners' own rows are gone through,
so that a search within a patient costs what she has, and not what her doctor did. Source: fhir chapter §5 (edge).
"""

from collections.abc import Iterator, Sequence

from adapter.seal.keyring import SHARED
from adapter.store.engine import Hot

Target = tuple[int, int]  # row, owner


def pointing(hot: Hot, kind: str, param: str, targets: Sequence[Target], among: Sequence[int]) -> Iterator[int]:
    """Rows of a type whose parameter points to one of the targets; of `among` at least, where a target is nobody's."""
    near = [rid for rid, owner in targets if owner != SHARED]
    sql = "SELECT src FROM edge WHERE param = ? AND dst IN (…)"
    yield from (row[0] for row in hot.each_in(sql, near, (param,)))
    sql = """
        SELECT r.rid FROM resource r CROSS JOIN edge e
        WHERE e.src = r.rid AND e.param = ? AND e.dst = ? AND r.type = ? AND r.owner IN (…)
    """  # the order of the join is the order of the work
    for rid in (rid for rid, owner in targets if owner == SHARED):
        yield from (row[0] for row in hot.each_in(sql, among, (param, rid, kind)))
