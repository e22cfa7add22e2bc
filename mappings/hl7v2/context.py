"""What a datatype function may know besides its own text: separators, profile, and where it stands.

One context a message. The compiled rows set `seg`, `field`, `rep_index` and `row` before each call, so that
`ctx.issue("not-a-date")` knows its place; functions never build places themselves. No function keeps a context.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mappings.hl7v2.message import Message, Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.time import MessageZone
from mappings.issues import Issue, issue

Json = dict[str, Any]

_CACHE_SYNTAXES = 16  # sets of separators and characters of one feed
_CACHE_ENTRIES = 4096  # coded values a compiled profile remembers for each


class ProfileView(Protocol):
    """The attributes of a compiled profile that datatype functions, keys and rules read."""

    @property
    def namespace(self) -> str: ...
    @property
    def zone(self) -> Any: ...  # ZoneInfo | None
    @property
    def authorities(self) -> Any: ...  # HD namespace or universal id -> system
    @property
    def codes(self) -> Any: ...  # CWE.3 -> {"system": uri, "table": {code: (coding, …)}}
    @property
    def policy(self) -> Any: ...
    @property
    def demographics(self) -> str: ...
    @property
    def maps(self) -> Any: ...  # mappings.profile.Maps, which imports this package
    def reads(self, family: str) -> Mapping[str, tuple[tuple[int, int], ...]]: ...
    def single(self, family: str) -> Mapping[str, tuple[int, ...]]: ...


def nothing_made(resource_type: str, key_parts: tuple[str, ...], body: Json) -> str | None:
    return None


def nothing_contained(body: Json) -> str | None:
    return None


def _of_syntax(cache: dict[Any, Any], message: Message) -> dict[Any, Any]:
    """The part of a profile's cache (pure results by raw text) that holds for messages of these separators and set."""
    if len(cache) > _CACHE_SYNTAXES:
        cache.clear()
    found: dict[Any, Any] = cache.setdefault((message.sep, message.charset), {})
    if len(found) > _CACHE_ENTRIES:
        found.clear()
    return found


class Context:
    """Separators, profile and position; collects issues and resources made on the way."""

    __slots__ = (
        "at", "cache", "comp", "contained", "esc", "event", "field", "field_sep", "issues", "lexemes", "make",
        "message", "profile", "rep", "rep_index", "row", "seg", "sub", "times", "trunc", "version", "zone",
    )  # fmt: skip

    def __init__(self, message: Message, profile: ProfileView, cache: dict[Any, Any] | None = None) -> None:
        sep = message.sep
        self.field_sep, self.comp, self.rep = sep.field, sep.comp, sep.rep
        self.esc, self.sub, self.trunc = sep.esc, sep.sub, sep.trunc
        self.message = message
        self.profile = profile
        self.cache = _of_syntax({} if cache is None else cache, message)
        self.issues: list[Issue] = list(message.issues)
        self.seg: Segment = message.segments[0]
        self.row = ""
        self.field = 0
        self.rep_index = 0
        self.at: str | None = None  # time of receipt, the last resort where R4 demands an instant
        self.times: dict[str, Any] = {}  # lexeme -> reading, as one message repeats its times
        self.lexemes: dict[str, str] = {}  # raw text of a time -> lexeme
        self.zone = MessageZone.of(message.msh.field(7), profile.zone)
        if self.zone.mismatch:
            self.issues.append(issue("zone-mismatch", Place("MSH", field=7)))
        self.make: Callable[[str, tuple[str, ...], Json], str | None] = nothing_made
        self.contained: Callable[[Json], str | None] = nothing_contained

    def issue(self, code: str, comp: int = 0, sub: int = 0, detail: str = "") -> None:
        """Record an issue at the value being read. `detail` is a fixed phrase, never a value."""
        self.issues.append(issue(code, self.place(comp, sub), row=self.row, detail=detail))

    def place(self, comp: int = 0, sub: int = 0) -> Place:
        return Place(self.seg.name, self.seg.nth, self.field, self.rep_index + 1, comp, sub)
