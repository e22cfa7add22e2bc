"""Events and entries: the grammar, its one encoding, and what each type of event must say.

An `Event` is what a caller wants logged; an entry is the one JSON object that is hashed and kept. Only core types are
listed here; the adapter hands in the rows of its own domain. Sequencing and time belong to `sequence.py`.
Source: ledger chapter §2 (grammar), §5 (types); the encoding is RFC 8785 over a grammar where sorted msgspec equals it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec

from ledger.commitment import Entropy, SubjectKey
from ledger.errors import EntryError

Fact: TypeAlias = "str | int | Sequence[Fact] | Mapping[str, Fact]"
Committed: TypeAlias = "bytes | Fact"
Outcome = Literal["permit", "deny"]

VERSION = 1
MAX_ENTRY_BYTES = 65_535  # entry bundles carry a 16-bit length (C2SP tlog-tiles)
MAX_INTEGER = 2**53 - 1  # RFC 8785 numbers are IEEE doubles
MAX_DEPTH = 16
NONE = "none"  # what an access about nobody commits to, where it has no value of its own

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_TEXT = re.compile(r"[\x20-\x7e]*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_REFERENCE = re.compile(r"[!-9;-~]+:(0|[1-9]\d{0,15})")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID_FIXED = 0xF << 76 | 0x3 << 62  # version and variant
_UUID7_BITS = 0x7 << 76 | 0x2 << 62
_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class RequiresRef:
    """An entry that must not have ended, nor lapsed: `until` is a `timestamp`, exclusive."""

    ref: str
    until: str | None = None


@dataclass(frozen=True, slots=True)
class RequiresEpoch:
    """A subject of which nothing newer than `epoch` may have been logged."""

    subject_row: int
    epoch: int


Requires = RequiresRef | RequiresEpoch


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be logged. It has no time and no index yet; `id` (UUIDv7 text) makes a retry harmless.

    `secret` is committed field by field, `clear` is logged as it is, `detail` is sealed into the vault; the first and
    the last need `subject_key` (row 0: the organisation's own). `ends` names entries that this one ends. `epoch` is
    that of the data commit behind the event, for the types that raise it.
    """

    type: str
    id: str
    org: str
    outcome: Outcome | None = None
    subject_key: SubjectKey | None = None
    clear: Mapping[str, Fact] = field(default_factory=dict)
    secret: Mapping[str, Committed] = field(default_factory=dict, repr=False)
    detail: bytes | None = field(default=None, repr=False)
    requires: Sequence[Requires] = ()
    ends: Sequence[str] = ()
    epoch: int | None = None


class Need(Enum):
    MUST = "must"
    MAY = "may"
    NO = "no"


@dataclass(frozen=True, slots=True)
class TypeRule:
    """What events of one type carry. `family.*` rows of other packages are made of the same."""

    type: str
    committed: frozenset[str] = frozenset()  # all of them
    may_commit: frozenset[str] = frozenset()
    clear: frozenset[str] = frozenset()  # all of them
    may_clear: frozenset[str] = frozenset()
    outcome: Need = Need.NO
    detail: Need = Need.MAY
    epoch: bool = False  # raises the subject's epoch, which older permits may not survive


def rule(
    type_: str,
    committed: str = "",
    clear: str = "",
    *,
    may_commit: str = "",
    may_clear: str = "",
    outcome: Need = Need.NO,
    detail: Need = Need.MAY,
    epoch: bool = False,
) -> TypeRule:
    """One row of the table of types, its fields as words."""
    return TypeRule(
        type_,
        frozenset(committed.split()),
        frozenset(may_commit.split()),
        frozenset(clear.split()),
        frozenset(may_clear.split()),
        outcome,
        detail,
        epoch,
    )


# Source: ledger chapter §5. A consent without an end commits exp `none`: entries of one type look alike.
CORE = (
    rule("access.read", "actor subject purpose content basis", outcome=Need.MUST, detail=Need.MUST),
    rule("access.search", "actor subject purpose content basis", outcome=Need.MUST, detail=Need.MUST),
    rule("access.export", "actor subject purpose content basis", outcome=Need.MUST, detail=Need.MUST),
    rule("access.denied", "actor purpose subject", may_clear="count window_s", outcome=Need.MUST, detail=Need.MUST),
    rule("access.breakglass", "actor subject purpose reason", "until", outcome=Need.MAY, detail=Need.MUST),
    rule("access.outcome", clear="of result", outcome=Need.MAY),
    rule("consent.granted", "subject handle scope nb exp", may_clear="via", detail=Need.MUST, epoch=True),
    rule("consent.amended", "subject handle scope nb exp", may_clear="via", detail=Need.MUST, epoch=True),
    rule("consent.revoked", "subject handle", may_clear="via", detail=Need.MUST, epoch=True),
    rule("consent.expired", "subject handle", may_clear="via", detail=Need.MUST, epoch=True),
    rule("policy.adopted", clear="digest name", may_clear="of"),
    rule("policy.retired", clear="of", may_clear="digest name"),
    rule("operator.acted", "actor target", "action"),
    rule("erasure.performed", clear="vault_row ground approvals", detail=Need.NO, epoch=True),
    rule("key.rotated", clear="role new", may_clear="old from"),
    rule("key.revoked", clear="role old", may_clear="new from"),
    rule("member.joined", clear="member", may_clear="chain_ref"),
    rule("member.left", clear="member", may_clear="chain_ref"),
    rule("member.suspended", clear="member", may_clear="chain_ref"),
    rule("log.opened", clear="origin", may_clear="predecessor size root lost"),
    rule("log.sealed", clear="size root", may_clear="successor"),
    rule("log.anchored", clear="size root", may_clear="tx block"),
)

Types = Mapping[str, TypeRule]


def types(*rows: TypeRule) -> Types:
    """The core types and `rows`; a type listed twice is a mistake of ours."""
    table: dict[str, TypeRule] = {}
    for row in (*CORE, *rows):
        if row.type in table or not _TYPE.fullmatch(row.type):
            raise RuntimeError(f"event type {row.type!r} is listed twice, or is no family.verb")
        table[row.type] = row
    return MappingProxyType(table)


CORE_TYPES = types()


def timestamp(at: datetime) -> str:
    """An aware time as entries write it: UTC, milliseconds, rounded down."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def is_timestamp(text: str) -> bool:
    return _TIME.fullmatch(text) is not None


def new_id(at: datetime, entropy: Entropy) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then random."""
    ms = int(at.timestamp() * 1000)
    number = ms << 80 | int.from_bytes(entropy(10), "big")
    number = number & ~_UUID_FIXED | _UUID7_BITS
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_bytes(event_id: str) -> bytes:
    """The 16 bytes that salts, detail keys and the store use. Raises EntryError for anything but UUIDv7 text."""
    if not _UUID7.fullmatch(event_id):
        raise EntryError("event id is not a UUIDv7 in lower case")
    return bytes.fromhex(event_id.replace("-", ""))


@lru_cache(maxsize=4_096)  # a node's permits rest on few entries
def parse_reference(ref: str) -> tuple[str, int]:
    """`2026:8123` → shard and index."""
    if not _REFERENCE.fullmatch(ref):
        raise EntryError("reference is not shard:index")
    shard, _, index = ref.rpartition(":")
    return shard, int(index)


def committed_bytes(value: Committed) -> bytes:
    """A committed value as bytes: text as it came, structures in the grammar's encoding."""
    if type(value) is str:
        return value.encode()
    return value if isinstance(value, bytes) else encode(value)


def encode(value: Any) -> bytes:
    """The one encoding of a value of the grammar. Raises EntryError for anything outside it."""
    guard(value)
    return _ENCODER.encode(value)


def encode_guarded(entry: Mapping[str, Any]) -> bytes:
    """The same for what the guard has seen part by part; refuses what no bundle could carry."""
    body = _ENCODER.encode(entry)
    if len(body) > MAX_ENTRY_BYTES:
        raise EntryError(f"entry too long: {len(body)} bytes, at most {MAX_ENTRY_BYTES}")
    return body


def guard(value: Any, depth: int = 0) -> None:
    """Refuse what is not printable ASCII text, an integer below 2^53, an array or an object of these."""
    kind = type(value)
    if kind is str:
        if not _TEXT.fullmatch(value):
            raise EntryError("text outside U+0020 to U+007E")
    elif kind is int:
        if not 0 <= value <= MAX_INTEGER:
            raise EntryError("integer outside 0 to 2^53 - 1")
    elif depth >= MAX_DEPTH:
        raise EntryError(f"nested deeper than {MAX_DEPTH}")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not _NAME.fullmatch(key):
                raise EntryError("object key is not [a-z][a-z0-9_]*")
            guard(item, depth + 1)
    elif kind is list or kind is tuple:
        for item in value:
            guard(item, depth + 1)
    else:
        raise EntryError(f"a value of type {kind.__name__} has no place in an entry")


def decode(body: bytes) -> dict[str, Any]:
    """An entry's object. Only bytes that `encode` would give back are an entry."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as exc:
        raise EntryError("entry is not JSON") from exc
    if type(value) is not dict:
        raise EntryError("entry is not an object")
    if encode(value) != body:
        raise EntryError("entry is not in its one encoding")
    return value


def missing(names: Iterable[str], given: Mapping[str, Any]) -> list[str]:
    """The required names that are not given, in order."""
    return sorted(name for name in names if name not in given)
