"""JSON Patch and JSON Merge Patch: what becomes of a document, as a pure function.

Numbers that a patch does not touch, and those it brings, stay as they were written; `test` compares them by value, so
1.50 is 1.5 there. Members that RFC 6902 does not know are ignored, a member named twice is refused. How much a patch
may ask for is limited before it is done: operations, depth, and all bytes that they add or copy. No text names a value,
and a place is named as far as the document has it.

Source: RFC 6902 (JSON Patch), RFC 6901 (JSON Pointer), RFC 7396 (JSON Merge Patch).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from mappings.errors import MappingError
from mappings.fhir.codec import BOM, RESOURCE, BytesError, Json, Limits, check_bytes, decimal, decode, encode, is_deeper

MAX_OPERATIONS = 1_000
MAX_POINTER = 4_096  # characters: 64 levels of the longest names of R4

AFTER_LAST = "-"
Pointer = tuple[str, ...]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class PatchError(MappingError):
    """A patch that is none; its kinds below are of patches that cannot be done."""


class PatchTooLarge(PatchError):
    """It asks for more than is done."""

    status_hint = 413


class PatchMissed(PatchError):
    """It does not fit this document: a path does not exist in it."""

    status_hint = 422

    def __init__(self, text: str, expression: str) -> None:
        super().__init__(text)
        self.expression = expression


class PatchTestFailed(PatchMissed):
    """A `test` did not hold."""


class _Absent(LookupError):
    """A token leads nowhere."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of a JSON Patch; `source` is its `from`."""

    op: str
    path: Pointer
    source: Pointer = ()
    value: Any = field(default=None, repr=False)


# -- reading --


def operations(data: bytes, limits: Limits = RESOURCE) -> tuple[Operation, ...]:
    """The operations in the bytes of a JSON Patch. Raises PatchError, PatchTooLarge."""
    found = _member(data, limits)
    if not isinstance(found, list):
        raise PatchError("a JSON Patch is an array of operations")
    if len(found) > MAX_OPERATIONS:
        raise PatchTooLarge(f"a patch has at most {MAX_OPERATIONS} operations")
    return tuple(_operation(number, one) for number, one in enumerate(found))


def _member(data: bytes, limits: Limits) -> Any:
    """Any JSON value through the check for objects: it is read as the one member of one."""
    wider = replace(limits, max_bytes=limits.max_bytes + 16, max_depth=limits.max_depth + 1)
    try:
        found = check_bytes(b'{"patch":%s}' % data.removeprefix(BOM), wider)
    except BytesError as exc:
        raise PatchError(f"the patch cannot be read: {exc.faults[0].text}") from exc
    if found.keys() != {"patch"}:  # `[],"more":1` is no JSON, though it is inside of braces
        raise PatchError("the patch cannot be read: is not JSON")
    return found["patch"]


def _operation(number: int, found: Any) -> Operation:
    op = found.get("op") if isinstance(found, dict) else None
    if not isinstance(op, str) or op not in _DO:
        raise PatchError(f"operation {number}: `op` is none of RFC 6902")
    path = _pointer(number, found, "path")
    if op in ("add", "replace", "test") and "value" not in found:
        raise PatchError(f"operation {number}: it needs a `value`")
    source = _pointer(number, found, "from") if op in ("move", "copy") else ()
    if op == "move" and source != path and path[: len(source)] == source:
        raise PatchError(f"operation {number}: nothing moves into itself")
    return Operation(op, path, source, found.get("value"))


def _pointer(number: int, found: Json, name: str) -> Pointer:
    text = found.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        raise PatchError(f"operation {number}: `{name}` is no JSON Pointer")
    if len(text) > MAX_POINTER:
        raise PatchTooLarge(f"operation {number}: `{name}` is over {MAX_POINTER} characters")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


# -- applying --


def applied(document: Any, patch: Sequence[Operation], limits: Limits = RESOURCE) -> Any:
    """What becomes of a document, which is taken and changed; the patch can be applied again. None: nothing is left.

    Raises PatchMissed, PatchTestFailed, PatchTooLarge, BytesError.
    """
    work = _Work({"": document}, limits)
    for number, one in enumerate(patch):
        try:
            _DO[one.op](work, one)
        except _Absent as exc:
            text = f"operation {number}: the path does not exist"
            raise PatchMissed(text, work.expression(one)) from exc
        except _Unequal as exc:
            raise PatchTestFailed(f"operation {number}: the test failed", work.expression(one)) from exc
    return work.root.get("")


class _Unequal(ValueError):
    """What is tested is something else."""


@dataclass(slots=True)
class _Work:
    """A document under way: the one member of `root`, so that the whole has a parent as any part has."""

    root: Json
    limits: Limits
    added: int = 0

    def at(self, path: Pointer) -> Any:
        node: Any = self.root[""] if "" in self.root else None
        for token in path:
            node = _step(node, token)
        return node

    def parent(self, path: Pointer) -> tuple[Any, str]:
        return (self.at(path[:-1]), path[-1]) if path else (self.root, "")

    def copy(self, value: Any) -> Any:
        """A copy of its own, held to the limits of all that is added."""
        if is_deeper(value, self.limits.max_depth):
            raise PatchTooLarge(f"the patch makes the resource deeper than {self.limits.max_depth} levels")
        data = encode(value)
        self.added += len(data)
        if self.added > self.limits.max_bytes:
            raise PatchTooLarge(f"the patch adds more than {self.limits.max_bytes} bytes")
        copied: Any = decode(data)
        return copied

    def put(self, path: Pointer, value: Any) -> None:
        parent, token = self.parent(path)
        if isinstance(parent, dict):
            parent[token] = value
        elif isinstance(parent, list):
            parent.insert(len(parent) if token == AFTER_LAST else _index(token, len(parent) + 1), value)
        else:
            raise _Absent

    def take(self, path: Pointer) -> Any:
        parent, token = self.parent(path)
        value = _step(parent, token)
        del parent[token if isinstance(parent, dict) else int(token)]
        return value

    def expression(self, one: Operation) -> str:
        """The path as FHIRPath, as far as the document has it."""
        node: Any = self.root.get("")
        kind = node.get("resourceType") if isinstance(node, dict) else None
        place = kind if isinstance(kind, str) and kind.isascii() and kind.isalpha() else "Resource"
        for token in one.path:
            try:
                node, inside = _step(node, token), node
            except _Absent:
                break
            place += f"[{token}]" if isinstance(inside, list) else f".{token}"
        return place


def _step(node: Any, token: str) -> Any:
    if isinstance(node, dict) and token in node:
        return node[token]
    if isinstance(node, list):
        return node[_index(token, len(node))]
    raise _Absent


def _index(token: str, below: int) -> int:
    if not _INDEX.fullmatch(token) or int(token) >= below:
        raise _Absent
    return int(token)


def _add(work: _Work, one: Operation) -> None:
    work.put(one.path, work.copy(one.value))


def _remove(work: _Work, one: Operation) -> None:
    work.take(one.path)


def _replace(work: _Work, one: Operation) -> None:
    parent, token = work.parent(one.path)
    _step(parent, token)
    parent[token if isinstance(parent, dict) else int(token)] = work.copy(one.value)


def _move(work: _Work, one: Operation) -> None:
    work.put(one.path, work.take(one.source))


def _copy(work: _Work, one: Operation) -> None:
    work.put(one.path, work.copy(work.at(one.source)))


def _test(work: _Work, one: Operation) -> None:
    if not same(work.at(one.path), one.value):
        raise _Unequal


_DO: dict[str, Callable[[_Work, Operation], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def same(one: Any, other: Any) -> bool:
    """Equal as RFC 6902 §4.6 says: numbers by value, strings by code points, members in any order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if _is_number(one) and _is_number(other):
        return decimal(one) == decimal(other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal | msgspec.Raw) and not isinstance(value, bool)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396 §2: members of the patch replace, null removes; what is no object replaces the whole."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
