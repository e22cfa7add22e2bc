"""How a search was answered, for those who run the node: `_explain=true`, the role `admin`.

The anchor, the parameters that the index answered, and how many resources were opened, matched and shown, to the next
power of ten: an exact number from before the gate would tell of those who are hidden. It stands as an `outcome` entry
of the page. Source: fhir chapter §6.
"""

from adapter.access.disclose import Looked
from adapter.errors import IssueItem

ROLE = "admin"
LEAST = 10


class Explanation:
    """What the planner tells of one search; a unit that runs again tells again."""

    def __init__(self) -> None:
        self._planned: dict[str, tuple[str, tuple[str, ...]]] = {}

    def planned(self, kind: str, anchor: str, consulted: tuple[str, ...]) -> None:
        self._planned[kind] = (anchor, consulted)

    def items(self, looked: Looked | None) -> list[IssueItem]:
        """One line for each type, and one of counts."""
        lines = [
            f"{kind}: anchor {anchor}, index {', '.join(consulted) or 'not asked'}"
            for kind, (anchor, consulted) in self._planned.items()
        ]
        if looked is not None:
            counts = (looked.candidates, looked.matched, looked.shown)
            lines.append("opened {}, matched {}, shown {}".format(*map(rounded, counts)))
        return [IssueItem("informational", "", line, "information") for line in lines]


def rounded(count: int) -> str:
    """The next power of ten above a count; the smallest says nothing of none."""
    above = LEAST
    while count >= above:
        above *= 10
    return f"under {above}"
