"""Contexts for testing one datatype function at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from mappings.hl7v2.context import Context, Json
from mappings.hl7v2.message import parse

HEADER = "MSH|^~\\&|APP|FAC|||20240501101530||ORU^R01|1|P|2.5.1"
FEED = "urn:chartbridge:tests"


@dataclass
class Profile:
    """As much of a profile as datatype functions read."""

    namespace: str = FEED
    zone: ZoneInfo | None = None
    authorities: dict[str, str] = field(default_factory=dict)
    codes: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    demographics: str = ""
    maps: Any = None

    def reads(self, family: str) -> Mapping[str, tuple[tuple[int, int], ...]]:
        return {}

    def single(self, family: str) -> Mapping[str, tuple[int, ...]]:
        return {}


@dataclass
class Made:
    """What a function handed to `ctx.make` and `ctx.contained`."""

    resources: list[tuple[str, tuple[str, ...], Json]] = field(default_factory=list)
    contained: list[Json] = field(default_factory=list)

    def make(self, kind: str, key: tuple[str, ...], body: Json) -> str:
        if (kind, key) not in [(kind_, key_) for kind_, key_, _ in self.resources]:
            self.resources.append((kind, key, body))
        return f"{kind}/" + "-".join(key)

    def contain(self, body: Json) -> str:
        self.contained.append(body)
        return f"#{len(self.contained)}"


def context(line: str = "OBX|1|ST", *, header: str = HEADER, number: int = 5, **profile: Any) -> Context:
    """A context standing in field `number` of the segment `line`."""
    message = parse(f"{header}\r{line}\r".encode(), charset="utf-8")
    made = Context(message, Profile(**profile))
    made.seg, made.field = message.segments[-1], number
    return made


def collecting(ctx: Context) -> Made:
    """Let a context make resources, and keep them."""
    made = Made()
    ctx.make, ctx.contained = made.make, made.contain
    return made


def codes(ctx: Context) -> list[str]:
    """The codes of the issues so far."""
    return [issue.code for issue in ctx.issues]
