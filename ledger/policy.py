"""Trust policies: which logs are believed, which witnesses are known, and how many of them make a quorum.

A policy says how to judge a checkpoint and nothing else. Names are opaque; a group or the quorum may only name what
stands above it, so there are no circles. Source: C2SP tlog-policy.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ledger.errors import VerificationError
from ledger.note import decode_vkey

NONE = "none"
MAX_LINES = 1_000  # a stranger's policy
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses a checkpoint when at least `threshold` of its members do."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """`logs` are vkeys, `witnesses` name → vkey."""

    logs: tuple[str, ...]
    witnesses: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE

    def reached(self, cosigned: Collection[str]) -> bool:
        """Whether cosignatures of these witnesses are enough."""
        return self.quorum == NONE or self._stands(self.quorum, cosigned)

    def _stands(self, name: str, cosigned: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._stands(member, cosigned) for member in group.members) >= group.threshold

    def text(self) -> str:
        """The policy's file."""
        lines = [f"log {vkey}" for vkey in self.logs]
        lines += [f"witness {name} {vkey}" for name, vkey in self.witnesses.items()]
        lines += [f"group {name} {group.threshold} {' '.join(group.members)}" for name, group in self.groups.items()]
        return "\n".join([*lines, f"quorum {self.quorum}", ""])


def parse_policy(data: bytes) -> Policy:
    """Raises VerificationError, naming the line, for anything that is not a policy."""
    if _CONTROL.search(data) or (data and not data.endswith(b"\n")):
        raise VerificationError("policy holds a control character, or its last line does not end")
    rows = data.decode("latin-1").split("\n")[:-1]
    if len(rows) > MAX_LINES:
        raise VerificationError(f"policy has {len(rows)} lines, at most {MAX_LINES}")
    reader = _Reader()
    for number, row in enumerate(rows, 1):
        words = row.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#") and not reader.take(words):
            raise VerificationError(f"policy line {number} is not understood")
    if reader.quorum is None:
        raise VerificationError("policy has no quorum line")
    return Policy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


class _Reader:
    """The lines so far. Each verb gives False for a line that the format does not allow."""

    def __init__(self) -> None:
        self.logs: list[str] = []
        self.witnesses: dict[str, str] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._log_keys: set[bytes] = set()
        self._witness_keys: set[bytes] = set()
        self._members: set[str] = set()

    def take(self, words: list[str]) -> bool:
        verbs = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum}
        verb = verbs.get(words[0])
        return verb is not None and verb(words[1:])

    def _log(self, words: list[str]) -> bool:
        if len(words) not in (1, 2) or not _is_new(words[0], self._log_keys):
            return False
        self.logs.append(words[0])
        return True

    def _witness(self, words: list[str]) -> bool:
        if len(words) not in (2, 3) or self._taken(words[0]) or not _is_new(words[1], self._witness_keys):
            return False
        self.witnesses[words[0]] = words[1]
        return True

    def _group(self, words: list[str]) -> bool:
        if len(words) < 3 or self._taken(words[0]):
            return False
        name, threshold, *members = words
        size = {"any": 1, "all": len(members)}.get(threshold) or _number(threshold)
        known = all(member in self.witnesses or member in self.groups for member in members)
        if not known or len(set(members)) < len(members) or self._members & set(members):
            return False
        if not 1 <= size <= len(members):
            return False
        self.groups[name] = Group(size, tuple(members))
        self._members |= set(members)
        return True

    def _quorum(self, words: list[str]) -> bool:
        if self.quorum is not None or len(words) != 1:
            return False
        if words[0] != NONE and not self._taken(words[0]):
            return False
        self.quorum = words[0]
        return True

    def _taken(self, name: str) -> bool:
        return name == NONE or name in self.witnesses or name in self.groups


def _is_new(vkey: str, keys: set[bytes]) -> bool:
    """A verifier key whose public key has not been listed: one key under two names would count twice."""
    try:
        _, _, public = decode_vkey(vkey.encode("latin-1").decode())
    except (UnicodeDecodeError, VerificationError):
        return False
    if public in keys:
        return False
    keys.add(public)
    return True


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
