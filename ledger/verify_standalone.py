#!/usr/bin/env python3
"""Verify a folder that `chartbridge ledger export` wrote, or one receipt, with Python 3.9 and nothing else.

    python verify.py [PATH] [--vkey VKEY] [--trust FILE]... [--entry FILE] [--json]

PATH is the folder (default: the one that holds this file) or a `.tlog-proof`. `--vkey` is the log's public key, from a
source of your own: without it the key in `policy.txt` is believed. `--trust` names an older checkpoint or receipt that
this log must still contain. Each check is pass, fail or unknown; exit 0 verified, 7 failed, 9 cannot tell.

This file shares no line with the program that it checks: Ed25519 is RFC 8032 in plain Python, the tree RFC 6962.
The formats are C2SP's signed-note, tlog-checkpoint, tlog-tiles, tlog-proof, tlog-policy and tlog-cosignature; an entry
is one JSON object in RFC 8785 form, its leaf SHA-256(0x00 || entry); a commitment is
HMAC-SHA-256(salt, "chartbridge commit v1" 00 field 00 value).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import calendar
import hashlib
import hmac
import json
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"
CORE = frozenset(
    b"access.breakglass access.denied access.export access.outcome access.read access.search "
    b"consent.amended consent.expired consent.granted consent.revoked erasure.performed key.revoked key.rotated "
    b"log.anchored log.opened log.sealed member.joined member.left member.suspended operator.acted "
    b"policy.adopted policy.retired".split()
)
KIT = {"policy.txt", "checkpoint", "disclosures.jsonl", "anchors.jsonl", "README", "verify.py", "checkpoint.pq"}
KIT |= {"keys.jsonl"}
REF = re.compile(r"([!-9;-~]+):(0|[1-9][0-9]{0,15})")
TIME = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
NAME = re.compile(r"[a-z][a-z0-9_]*")
PRINTABLE = bytes(range(0x20, 0x7F))
COMMIT = b"chartbridge commit v1\x00"
sha256 = hashlib.sha256


class Bad(Exception):
    """Something does not hold."""


# Ed25519: RFC 8032 §5.1. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

Point = tuple[int, int, int, int]
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # a square root of -1


def add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


def decompress(data: bytes) -> Point:
    y = int.from_bytes(data, "little")
    odd, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        raise Bad("no point")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (not x and odd):
        raise Bad("no point")
    x = P - x if x & 1 != odd else x
    return x, y, 1, x * y % P


def compress(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the Ed25519 signature holds."""
    if len(public) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        return False
    try:
        point = decompress(public)
    except Bad:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus = (P - point[0], point[1], 1, P - point[3])
    return compress(add(times(s, BASE), times(h, minus))) == signature[:32]


# Notes, keys and policies: C2SP signed-note and tlog-policy.


def base64_of(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Bad("no base64") from exc
    if base64.b64encode(raw).decode() != text:
        raise Bad("no canonical base64")
    return raw


def good_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() or char < " " for char in name)


class Key:
    """A verifier key: NAME+ID+base64(kind, public). Kind 1 signs notes, kind 4 cosigns checkpoints."""

    def __init__(self, vkey: str):
        self.name, _, rest = vkey.partition("+")
        ident, _, material = rest.partition("+")
        raw = base64_of(material)
        if not good_name(self.name) or not re.fullmatch("[0-9a-f]{8}", ident) or len(raw) < 2:
            raise Bad("no verifier key")
        self.vkey, self.kind, self.public = vkey, raw[0], raw[1:]
        self.id = sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != ident:
            raise Bad("no verifier key")
        self.reads = self.kind in (1, 4) and len(self.public) == 32

    def holds(self, text: bytes, signature: bytes) -> bool:
        if self.kind == 1:
            return signed(self.public, text, signature)
        if len(signature) != 72 or signature[0] >= 0x80:
            return False
        head = b"cosignature/v1\ntime %d\n" % int.from_bytes(signature[:8], "big")
        return signed(self.public, head + text, signature[8:])


def parse_note(data: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text and [(name, key id, signature)]."""
    try:
        whole = data.decode()
    except UnicodeDecodeError as exc:
        raise Bad("no note") from exc
    text, blank, lines = whole.rpartition("\n\n")
    if not text or not blank or not lines.endswith("\n") or any(c < " " and c != "\n" for c in whole):
        raise Bad("no note")
    found = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = ([*line.split(" ", 2), "", ""])[:3]
        raw = base64_of(encoded)
        if dash != "\u2014" or not good_name(name) or len(raw) < 5:
            raise Bad("no signature line")
        found.append((name, raw[:4], raw[4:]))
    if len(data) > 1_000_000 or len(found) > 100:
        raise Bad("note too long")
    return text + "\n", found


def open_note(data: bytes, keys: list[Key]) -> tuple[str, set[str]]:
    """Text, and the names of those of `keys` that signed it: at least one, and none badly."""
    text, signatures = parse_note(data)
    known, good = {(key.name, key.id): key for key in keys}, {}
    for name, ident, signature in signatures:
        key = known.get((name, ident))
        if key and (name, ident) not in good:
            if not key.holds(text.encode(), signature):
                raise Bad("bad signature")
            good[(name, ident)] = name
    if not good:
        raise Bad("no signature by a known key")
    return text, set(good.values())


def open_checkpoint(data: bytes, keys: list[Key]) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint that the log of that origin signed."""
    text, names = open_note(data, keys)
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
        raise Bad("no checkpoint")
    root = base64_of(lines[2])
    if len(root) != 32 or lines[0] not in names:
        raise Bad("no checkpoint")
    return lines[0], int(lines[1]), root


class Policy:
    """Logs, witnesses and the quorum."""

    def __init__(self, data: bytes):
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum = ""
        self.used: set[str] = set()
        self.keys: dict[str, set[bytes]] = {"log": set(), "witness": set()}
        if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data) or (data and not data.endswith(b"\n")):
            raise Bad("no policy")
        rows = data.decode("latin-1").split("\n")[:-1]
        for row in rows:
            words = row.replace("\t", " ").split(" ")
            words = [word for word in words if word]
            if words and not words[0].startswith("#"):
                self.take(words[0], words[1:])
        if not self.quorum or len(rows) > 1000:
            raise Bad("no policy")

    def take(self, verb: str, words: list[str]) -> None:
        known = {**self.witnesses, **self.groups, "none": None}
        if verb == "log" and len(words) in (1, 2):
            self.logs.append(self.key("log", words[0]))
        elif verb == "witness" and len(words) in (2, 3) and words[0] not in known:
            self.witnesses[words[0]] = self.key("witness", words[1])
        elif verb == "quorum" and len(words) == 1 and not self.quorum and words[0] in known:
            self.quorum = words[0]
        elif verb == "group" and len(words) > 2 and words[0] not in known:
            name, count, *members = words
            least = {"any": "1", "all": str(len(members))}.get(count, count)
            if not re.fullmatch("[1-9][0-9]{0,3}", least) or int(least) > len(members):
                raise Bad("no policy")
            if "none" in members or len(set(members)) < len(members) or not set(members) <= set(known) - self.used:
                raise Bad("no policy")
            self.groups[name] = int(least), members
            self.used |= set(members)
        else:
            raise Bad("no policy")

    def key(self, kind: str, vkey: str) -> Key:
        try:
            key = Key(vkey.encode("latin-1").decode())
        except UnicodeDecodeError as exc:
            raise Bad("no policy") from exc
        if key.public in self.keys[kind]:
            raise Bad("no policy")
        self.keys[kind].add(key.public)
        return key

    def reached(self, cosigned: set[str], name: str = "") -> bool:
        name = name or self.quorum
        if name in self.groups:
            least, members = self.groups[name]
            return sum(self.reached(cosigned, member) for member in members) >= least
        return name == "none" or name in cosigned


# Entries: one JSON object each, in RFC 8785 form over a narrow grammar.


def in_grammar(value: Any, depth: int = 0) -> bool:
    if type(value) is str:
        return not value.encode("utf-8", "surrogatepass").translate(None, PRINTABLE)
    if type(value) is int:
        return 0 <= value < 2**53
    if depth >= 16:
        return False
    if type(value) is dict:
        return all(NAME.fullmatch(key) and in_grammar(item, depth + 1) for key, item in value.items())
    return type(value) is list and all(in_grammar(item, depth + 1) for item in value)


ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def parse_entry(body: bytes) -> dict[str, Any] | None:
    """The object; None for what is no entry, or not in its one encoding."""
    try:
        value = json.loads(body.decode("ascii"))
        if type(value) is not dict or not in_grammar(value) or ENCODE(value).encode() != body:
            return None
    except (ValueError, RecursionError):
        return None
    c, d = value.get("c", {}), value.get("d", {})
    text = [value.get("outcome", ""), value.get("tag", ""), *(value.get(name) for name in ("id", "org", "t", "type"))]
    fits = type(c) is dict and type(d) is dict and type(value.get("v")) is int
    return value if fits and all(type(item) is str for item in [*text, *c.values()]) else None


class Entries:
    """Reads entries fast. What stands outside the quotes is the shape of an entry. Of each shape, with each set of
    keys, one is parsed and encoded again; another of printable text with both the same can differ in values only."""

    def __init__(self) -> None:
        self.shapes: dict[bytes, tuple[Callable[[list[bytes]], Any], dict[Any, Callable[[list[bytes]], Any]]]] = {}

    def read(self, body: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Time, id and type; None for what is no entry."""
        if b"\\" in body or body.translate(None, PRINTABLE):
            return self.slow(body)
        parts = body.split(b'"')
        shape = b'"'.join(parts[::2])
        known = self.shapes.get(shape)
        if known is not None:
            places = known[1].get(known[0](parts))
            if places is not None:
                found: tuple[bytes, bytes, bytes] = places(parts)
                return found
        slow = self.slow(body)
        if slow is not None:
            self.learn(shape, parts)
        return slow

    def slow(self, body: bytes) -> tuple[bytes, bytes, bytes] | None:
        value = parse_entry(body)
        return None if value is None else (value["t"].encode(), value["id"].encode(), value["type"].encode())

    def learn(self, shape: bytes, parts: list[bytes]) -> None:
        if len(self.shapes) > 4096:  # numbers are part of a shape: keep only so many
            self.shapes.clear()
        keys = [n for n in range(1, len(parts) - 1, 2) if parts[n + 1].startswith(b":")]
        depth, places = 0, dict[bytes, int]()
        for n in range(0, len(parts) - 1, 2):
            depth += parts[n].count(b"{") + parts[n].count(b"[") - parts[n].count(b"}") - parts[n].count(b"]")
            if depth == 1 and n + 1 in keys:
                places[parts[n + 1]] = n + 3
        getter, sets = self.shapes.setdefault(shape, (itemgetter(*keys), {}))
        sets[getter(parts)] = itemgetter(places[b"t"], places[b"id"], places[b"type"])


# The tree: RFC 6962 §2.1, in tiles of 256 hashes.


def tile_path(level: int | str, number: int, width: int) -> str:
    digits, rest = [f"{number % 1000:03}"], number // 1000
    while rest:
        digits.insert(0, f"x{rest % 1000:03}")
        rest //= 1000
    return f"tile/{level}/{'/'.join(digits)}" + (f".p/{width}" if width < 256 else "")


def pair_up(hashes: list[bytes]) -> list[bytes]:
    """One level up: each two adjacent hashes; an odd last one stays."""
    up = [sha256(b"\x01" + hashes[n] + hashes[n + 1]).digest() for n in range(0, len(hashes) - 1, 2)]
    return up + hashes[-1:] if len(hashes) % 2 else up


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962's root; of adjacent perfect subtrees of one height too."""
    while len(hashes) > 1:
        hashes = pair_up(hashes)
    return hashes[0] if hashes else sha256(b"").digest()


def whole_root(tiles: list[bytes], rest: list[bytes]) -> bytes:
    """The root from the roots of full tiles, and the leaves behind them."""
    return root_of([*tiles, root_of(rest)] if rest else tiles)


def split(data: bytes) -> list[bytes]:
    return [data[n : n + 32] for n in range(0, len(data), 32)]


def unbundle(data: bytes) -> list[bytes]:
    bodies, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise Bad("cut")
        bodies.append(data[at + 2 : end])
        at = end
    return bodies


class Tree:
    """The folder's entries and tiles, each read once. Where they differ, both are followed up to the root."""

    def __init__(self, folder: Path, origin: str, size: int, span: tuple[int, int], keep: set[int], asked: set[int]):
        self.folder, self.size, self.span, self.keep, self.asked = folder, size, span, keep, asked
        self.openings = read_openings(folder, origin.rpartition("/")[2])
        self.replay = Replay(origin.rpartition("/")[2])
        self.entries_fault = self.tiles_fault = ""
        self.count = self.unread = self.tiles = self.tiles_absent = 0
        self.absent: list[str] = []
        self.ids: set[bytes] = set()
        self.last_t = b""
        self.t: dict[int, bytes] = {}
        self.reader = Entries()
        self.roots: tuple[list[bytes | None], list[bytes | None]] = ([], [])  # by entries, by tiles
        self.rest: tuple[list[bytes] | None, list[bytes] | None] = ([], [])
        self.kept: dict[int, tuple[list[bytes] | None, list[bytes] | None]] = {}
        self.differs: tuple[int, str] | None = None
        self.side = 0  # which of the two gave the signed root
        for number in range(-(-size // 256)):
            self.take(number)

    def take(self, number: int) -> None:
        first, width = number * 256, min(256, self.size - number * 256)
        path = tile_path(0, number, width)
        data = self.read(path)
        self.tiles += 1
        self.tiles_absent += data is None
        if data is not None and len(data) != 32 * width:
            self.tiles_fault = self.tiles_fault or f"{path} has a wrong length"
            data = None
        hashes = None if data is None else split(data)
        leaves = self.bundle(number, first, width)
        if leaves is None:
            self.replay.gaps.append((first, first + width))
        elif hashes is not None and hashes != leaves and self.differs is None:
            self.differs = first + next(n for n in range(width) if hashes[n] != leaves[n]), path
        both = (leaves if leaves is not None else hashes, hashes if hashes is not None else leaves)
        if number in self.keep:
            self.kept[number] = both
        if width < 256:
            self.rest = both
            return
        root = None if both[0] is None else root_of(both[0])
        self.roots[0].append(root)
        self.roots[1].append(root if both[1] is None or both[1] == both[0] else root_of(both[1]))

    def read(self, name: str) -> bytes | None:
        return read_file(self.folder / name)

    def bundle(self, number: int, first: int, width: int) -> list[bytes] | None:
        """The leaf hashes of one bundle, its entries checked."""
        path = tile_path("entries", number, width)
        data = self.read(path)
        if data is None:
            if self.span[0] < first + width and first < self.span[1]:
                self.absent.append(path)
            return None
        try:
            bodies = unbundle(data)
        except Bad:
            self.fault(f"{path} is cut")
            return None
        if len(bodies) != width:
            self.fault(f"{path} has {len(bodies)} entries, expected {width}")
            return None
        self.count += width
        for index, body in enumerate(bodies, first):
            found = self.reader.read(body)
            if found is None:
                self.fault(f"entry {index} is not in its one encoding")
            else:
                self.entry(index, body, *found)
        return [sha256(b"\x00" + body).digest() for body in bodies]

    def entry(self, index: int, body: bytes, t: bytes, ident: bytes, kind: bytes) -> None:
        if t < self.last_t:
            self.fault(f"entry {index} goes back in time")
        elif t > self.last_t and not TIME.fullmatch(t):
            self.fault(f"entry {index} has no time")
        self.last_t = t
        if ident in self.ids:
            self.fault(f"entry {index} has the id of another")
        self.ids.add(ident)
        self.unread += kind not in CORE
        if index in self.asked:
            self.t[index] = t
        if self.openings is not None:
            value = parse_entry(body)
            if value is not None:
                self.replay.take(index, value, self.openings.open(index, value))

    def fault(self, found: str) -> None:
        self.entries_fault = self.entries_fault or found

    def whole(self, side: int) -> bool:
        return self.rest[side] is not None and None not in self.roots[side]

    def root(self, side: int, size: int) -> bytes | None:
        """The root over the first `size` leaves."""
        full, width = divmod(size, 256)
        rest = self.rest[side] if size == self.size else self.kept.get(full, (None, None))[side] if width else []
        tiles = [root for root in self.roots[side][:full] if root is not None]
        return whole_root(tiles, rest[:width]) if rest is not None and len(tiles) == full else None

    def found(self, signed_root: bytes) -> list[tuple[str, str, str]]:
        """The three checks of the tree."""
        tree = self.tree_found(signed_root)
        return [("entries", *self.entries_found()), ("tiles", *self.tiles_found()), ("tree", *tree)]

    def entries_found(self) -> tuple[str, str]:
        if self.entries_fault:
            return FAIL, self.entries_fault
        if self.absent:
            return UNKNOWN, f"{len(self.absent)} bundles are missing, first {self.absent[0]}"
        start, end = self.span
        part = "" if (start, end) == (0, self.size) else f" ({start} to {end} of {self.size})"
        return PASS, f"{self.count} entries{part}, {self.unread} of types not read here"

    def tree_found(self, signed_root: bytes) -> tuple[str, str]:
        if not self.whole(0):
            lost = self.roots[0].count(None) + (self.rest[0] is None)
            return UNKNOWN, f"the leaves of {lost} tiles are missing"
        if self.root(0, self.size) == signed_root:
            return PASS, f"the root of size {self.size} is the signed one"
        if self.differs is not None and self.root(1, self.size) == signed_root:
            self.side = 1
            return FAIL, f"entry {self.differs[0]} is not the one that was logged"
        return FAIL, f"the root of size {self.size} is not the signed one"

    def tiles_found(self) -> tuple[str, str]:
        if self.side == 0 and self.differs is not None:
            self.tiles_fault = self.tiles_fault or f"{self.differs[1]} is not what the entries give"
        level, row = 1, [root for root in self.roots[self.side] if root is not None]
        while self.whole(0) and row:
            for number in range(-(-len(row) // 256)):
                part = row[number * 256 : number * 256 + 256]
                path = tile_path(level, number, len(part))
                data = self.read(path)
                self.tiles += 1
                self.tiles_absent += data is None
                if data is not None and data != b"".join(part):
                    self.tiles_fault = self.tiles_fault or f"{path} is not what the tiles below give"
            row = [root_of(row[n : n + 256]) for n in range(0, len(row) // 256 * 256, 256)]
            level += 1
        if self.tiles_fault:
            return FAIL, self.tiles_fault
        if not self.whole(self.side):
            return UNKNOWN, "tiles cannot be recomputed without all leaves"
        if self.tiles_absent:
            return UNKNOWN, f"{self.tiles_absent} of {self.tiles} hash tiles are missing"
        return PASS, f"{self.tiles} hash tiles as recomputed"


# Openings and the replay of permits.


class Openings:
    """The lines of disclosures.jsonl, by the entry that they open."""

    def __init__(self, data: bytes, shard: str):
        self.lines, self.bad = 0, ""
        self.wanted: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for number, line in enumerate(data.split(b"\n")[: -1 if data.endswith(b"\n") else None], 1):
            self.lines += 1
            try:
                value = json.loads(line)
                ref = REF.fullmatch(value["ref"])
                fits = type(value) is dict and set(value) == {"ref", "field", "salt", "value"}
                fits = fits and type(value["field"]) is str and len(bytes.fromhex(value["salt"])) == 32
                committed(value["value"])
            except (ValueError, TypeError, KeyError, RecursionError):
                ref, fits = None, False
            if ref is None or not fits:
                self.bad = self.bad or f"line {number} is malformed"
            elif ref[1] != shard:
                self.bad = self.bad or f"line {number} is about another log"
            else:
                self.wanted.setdefault(int(ref[2]), []).append((number, value))

    def open(self, index: int, entry: dict[str, Any]) -> dict[str, str]:
        """The fields of this entry that are opened as text."""
        opened = {}
        for number, line in self.wanted.pop(index, ()):
            name, salt, value = line["field"], bytes.fromhex(line["salt"]), line["value"]
            made = hmac.new(salt, COMMIT + name.encode() + b"\x00" + committed(value), sha256).hexdigest()
            if made != entry.get("c", {}).get(name, ""):
                self.bad = self.bad or f"line {number} does not open {name} of {line['ref']}"
            elif type(value) is str:
                opened[name] = value
        return opened

    def found(self) -> tuple[str, str]:
        absent = sum(map(len, self.wanted.values()))
        if self.bad:
            return FAIL, self.bad
        if absent:
            return UNKNOWN, f"{absent} of {self.lines} openings are about entries that are not here"
        return PASS, f"{self.lines} openings hold"


def committed(value: Any) -> bytes:
    """A committed value as bytes: text as it is, anything else in the grammar's encoding."""
    if type(value) is str:
        return value.encode()
    if not in_grammar(value):
        raise ValueError("outside the grammar")
    return ENCODE(value).encode()


def read_openings(folder: Path, shard: str) -> Openings | None:
    data = read_file(folder / "disclosures.jsonl")
    return None if data is None else Openings(data, shard)


class Replay:
    """Was each permit justified by what it rests on? A basis must precede it, grant, not have ended, be about the same
    subject, and cover its time. What is not opened is not guessed."""

    def __init__(self, shard: str):
        self.shard = shard
        self.gaps: list[tuple[int, int]] = []
        self.bases: dict[int, dict[str, Any]] = {}
        self.stands: dict[str, tuple[str, int]] = {}  # handle → state, entry
        self.blind: list[tuple[int, str, str]] = []  # endings whose handle is not opened
        self.justified = self.unopened = 0
        self.wrong: list[tuple[int, str]] = []

    def take(self, index: int, entry: dict[str, Any], opened: dict[str, str]) -> None:
        kind = entry["type"]
        family, _, verb = kind.partition(".")
        facts = entry.get("d", {})
        if family == "consent" and verb in ("granted", "amended", "revoked", "expired"):
            self.consent(index, entry, verb, opened)
        elif kind == "policy.adopted":
            self.bases[index] = {"kind": "policy"}
        elif kind == "policy.retired":
            match = REF.fullmatch(str(facts.get("of", "")))
            if match and match[1] == self.shard and self.bases.get(int(match[2]), {}).get("kind") == "policy":
                self.bases[int(match[2])]["ended"] = index
        elif kind == "access.breakglass":
            if entry.get("outcome") != "deny":
                until = str(facts.get("until", ""))
                self.bases[index] = {"kind": "glass", "subject": opened.get("subject"), "nb": "", "exp": until}
        elif family == "access" and entry.get("outcome") == "permit" and "basis" in entry.get("c", {}):
            why = self.judge(index, entry, opened)
            self.justified += why == ""
            self.unopened += why is None
            if why:
                self.wrong.append((index, why))

    def consent(self, index: int, entry: dict[str, Any], verb: str, opened: dict[str, str]) -> None:
        grants = verb in ("granted", "amended")
        if grants:
            told = {name: opened.get(name) for name in ("handle", "subject", "nb", "exp")}
            self.bases[index] = {"kind": "consent", **told}
        handle = opened.get("handle")
        if handle is None:
            if verb != "granted":
                self.blind.append((index, entry["t"][:7], entry.get("tag", "")))
            return
        state, before = self.stands.get(handle, ("none", -1))
        allowed = {"none": ("granted",), "granted": ("amended", "revoked", "expired")}
        allowed["amended"] = ("amended", "granted", "revoked", "expired")
        if verb in allowed.get(state, ()):
            self.stands[handle] = (verb, index)
            if before in self.bases:
                self.bases[before].setdefault("ended", index)
        elif grants:
            self.bases[index]["refused"] = True

    def judge(self, index: int, entry: dict[str, Any], opened: dict[str, str]) -> str | None:
        """ "" justified, None unopened, else why not."""
        if "basis" not in opened:
            return None
        match = REF.fullmatch(opened["basis"])
        if match is None:
            return "its basis is no reference"
        at = int(match[2])
        if match[1] != self.shard:
            return None
        if at >= index:
            return "its basis comes after it"
        basis = self.bases.get(at)
        if basis is None:
            return None if any(start <= at < end for start, end in self.gaps) else "its basis grants nothing"
        if "refused" in basis:
            return "its basis was refused"
        if "ended" in basis:
            return "its basis had ended"
        t, policy = entry["t"], basis["kind"] == "policy"
        start, end = basis.get("nb", ""), basis.get("exp", "none")
        if (start is not None and t < start) or (end not in (None, "none") and t >= end):
            return "it is outside the period of its basis"
        subjects = (opened.get("subject"), None if policy else basis["subject"])
        if None not in subjects and subjects[0] != subjects[1]:
            return "its basis is about another subject"
        if any(stop > at for _, stop in self.gaps):
            return None
        if not policy and (None in (*subjects, start, end) or basis.get("handle", "") is None):
            return None
        if basis["kind"] == "consent":
            month, tag = t[:7], entry.get("tag", "")
            if any(b > at and (m != month or g == tag) for b, m, g in self.blind):
                return None
        return ""


# The checks, in order.


def read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest."""
    found = {}
    for below, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(below, name)
            digest = sha256()
            with open(path, "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
            found[os.path.relpath(path, folder).replace(os.sep, "/")] = digest.hexdigest()
    found.pop("MANIFEST", None)
    return found


class Verifier:
    """One run: what was said, and what the checks before established."""

    def __init__(self, vkey: str, trust: list[tuple[str, bytes]]):
        self.vkey, self.trust = vkey, trust
        self.checks: list[tuple[str, str, str]] = []
        self.policy: Policy | None = None
        self.logs: list[Key] = []
        self.times: list[tuple[int, int]] = []
        self.head: tuple[str, int, bytes] | None = None

    def say(self, name: str, state: str, found: str) -> None:
        self.checks.append((name, state, found))

    def folder(self, folder: Path) -> None:
        with ThreadPoolExecutor(1) as pool:
            digests = pool.submit(digests_of, folder)
            self.check_policy(read_file(folder / "policy.txt"))
            self.check_checkpoint(read_file(folder / "checkpoint"))
            manifest, span, place = self.open_manifest(folder), None, len(self.checks)
            older = [(name, self.open_trusted(data)) for name, data in self.trust]
            tree = None
            if self.head:
                origin, size, root = self.head
                span = (0, size)
                if manifest and manifest["size"] == size and manifest["start"] <= manifest["end"] <= size:
                    span = (manifest["start"], manifest["end"])
                keep = {found[1] // 256 for _, found in older if found}
                tree = Tree(folder, origin, size, span, keep, {n for s, _ in self.times for n in (s - 1, s)})
                self.checks += [(name, state, found) for name, state, found in tree.found(root)]
            else:
                for name in ("entries", "tiles", "tree"):
                    self.say(name, UNKNOWN, "no signed checkpoint to hold them against")
            for name, found in older:
                self.check_older(name, found, tree)
            if tree:
                self.check_rest(tree)
            self.checks.insert(place, ("manifest", *self.check_manifest(folder, manifest, digests.result)))
        if (folder / "anchors.jsonl").exists():
            self.say("anchors", UNKNOWN, "this program reads no chain")

    def proof(self, file: Path, entry: Path) -> None:
        self.check_policy(read_file(file.with_name("policy.txt")))
        try:
            head, _, note = file.read_bytes().decode().partition("\n\n")
            lines = head.split("\n")
            if len(lines) > 1 and lines[1].startswith("extra "):
                base64_of(lines.pop(1)[6:])
            index, hashes = read_index(lines), [base64_of(line) for line in lines[2:]]
            parse_note(note.encode())
            if lines[0] != "c2sp.org/tlog-proof@v1" or len(hashes) > 63 or any(len(one) != 32 for one in hashes):
                raise Bad("no proof")
        except (Bad, UnicodeDecodeError):
            self.say("proof", FAIL, "this is no tlog-proof")
            return
        self.check_checkpoint(note.encode())
        body = read_file(entry)
        if body is None:
            self.say("inclusion", UNKNOWN, f"the entry of index {index} is not here")
        elif self.head is None:
            self.say("inclusion", UNKNOWN, "no signed checkpoint to hold it against")
        elif included(sha256(b"\x00" + body).digest(), index, self.head[1], hashes) == self.head[2]:
            self.say("inclusion", PASS, f"entry {index} is in the tree of size {self.head[1]}")
        else:
            self.say("inclusion", FAIL, f"the entry is not leaf {index} of the tree of size {self.head[1]}")

    def check_policy(self, data: bytes | None) -> None:
        try:
            self.policy = None if data is None else Policy(data)
        except Bad:
            self.say("policy", FAIL, "policy.txt is no trust policy")
            return
        listed = self.policy.logs if self.policy else []
        try:
            self.logs = [Key(self.vkey)] if self.vkey else [key for key in listed if key.kind == 1 and key.reads]
            if self.vkey and not (self.logs[0].kind == 1 and self.logs[0].reads):
                raise Bad("another kind")
        except Bad:
            self.logs = []
            self.say("policy", FAIL, "the given key is no Ed25519 verifier key")
            return
        if self.policy is None:
            self.say("policy", UNKNOWN, "no policy.txt")
        elif self.vkey and self.vkey not in [key.vkey for key in listed]:
            self.say("policy", FAIL, "policy.txt does not name the given key")
        elif not self.logs:
            self.say("policy", UNKNOWN, "policy.txt names no log key that this program reads")
        else:
            rule = "self-attested" if self.policy.quorum == "none" else f"quorum {self.policy.quorum}"
            self.say("policy", PASS, ", ".join(f"{key.name}+{key.id.hex()}" for key in self.logs) + f", {rule}")

    def check_checkpoint(self, data: bytes | None) -> None:
        if data is None or not self.logs:
            self.say("checkpoint", UNKNOWN, "no checkpoint" if data is None else "no key to check it with")
            return
        try:
            self.head = open_checkpoint(data, self.logs)
        except Bad:
            self.say("checkpoint", FAIL, "checkpoint is not signed by this log")
            return
        self.say("checkpoint", PASS, f"size {self.head[1]}, root {self.head[2].hex()}")
        if self.policy and self.policy.quorum != "none":
            self.check_witnesses(self.policy, data, self.head[1])

    def cosignatures(self, data: bytes) -> list[tuple[str, bool | None, int]]:
        """(witness, holds or None where unreadable, POSIX seconds) of each known witness that signed."""
        text, signatures = parse_note(data)
        found: list[tuple[str, bool | None, int]] = []
        for name, ident, signature in signatures:
            for witness, key in (self.policy.witnesses if self.policy else {}).items():
                if (key.name, key.id) == (name, ident):
                    holds = key.holds(text.encode(), signature) if key.kind == 4 and key.reads else None
                    found.append((witness, holds, int.from_bytes(signature[:8], "big")))
        return found

    def check_witnesses(self, policy: Policy, data: bytes, size: int) -> None:
        found = self.cosignatures(data)
        for witness, holds, _ in found:
            if holds is False:
                self.say("witnesses", FAIL, f"the cosignature of {witness} does not hold")
                return
        good = {witness for witness, holds, _ in found if holds}
        self.times += [(size, seconds) for _, holds, seconds in found if holds]
        if policy.reached(good):
            self.say("witnesses", PASS, f"quorum {policy.quorum}: {', '.join(sorted(good))}")
        elif policy.reached({witness for witness, _, _ in found}):
            self.say(
                "witnesses", UNKNOWN, f"quorum {policy.quorum} rests on signatures that this program does not read"
            )
        else:
            self.say("witnesses", FAIL, f"quorum {policy.quorum} is not reached")

    def open_manifest(self, folder: Path) -> dict[str, Any] | None:
        """The signed manifest; None where there is none, or no good one."""
        lines, blank, note = (read_file(folder / "MANIFEST") or b"").partition(b"\n\n")
        head = r"chartbridge manifest v1\norigin ([^\n]+)\nsize (N)\nentries (N) (N)\nsha256 ([0-9a-f]{64})\n"
        try:
            match = re.fullmatch(head.replace("N", "0|[1-9][0-9]{0,18}"), open_note(note, self.logs)[0])
        except Bad:
            return None
        if not blank or match is None or sha256(lines + b"\n").hexdigest() != match[5]:
            return None
        files, part = {}, "[A-Za-z0-9][A-Za-z0-9._-]*"
        for line in lines.decode("ascii", "replace").split("\n"):
            found = re.fullmatch(f"([0-9a-f]{{64}})  ({part}(?:/{part})*)", line)
            if found is None or found[2] in files:
                return None
            files[found[2]] = found[1]
        span = {"size": int(match[2]), "start": int(match[3]), "end": int(match[4])}
        return {"origin": match[1], "files": files, **span}

    def check_manifest(
        self, folder: Path, manifest: dict[str, Any] | None, digests: Callable[[], dict[str, str]]
    ) -> tuple[str, str]:
        if not (folder / "MANIFEST").is_file():
            return UNKNOWN, "no MANIFEST"
        if not self.logs:
            return UNKNOWN, "no key to check it with"
        if manifest is None:
            return FAIL, "MANIFEST is not what the log's operator signed"
        if self.head and (manifest["origin"], manifest["size"]) != self.head[:2]:
            return FAIL, "MANIFEST is of another checkpoint"
        listed, found = manifest["files"], digests()
        changed = sorted(path for path in listed if path in found and found[path] != listed[path])
        extra = sorted(path for path in found if path not in listed and (path in KIT or path.startswith("tile/")))
        missing = sum(path not in found for path in listed)
        if changed:
            return FAIL, f"{changed[0]} is not what was signed"
        if extra:
            return FAIL, f"{extra[0]} is not in MANIFEST"
        if missing:
            return UNKNOWN, f"{missing} of {len(listed)} files are missing"
        return PASS, f"{len(listed)} files as signed"

    def open_trusted(self, data: bytes) -> tuple[str, int, bytes] | None:
        """An older checkpoint, or that of a receipt."""
        if data.startswith(b"c2sp.org/tlog-proof@"):
            data = data.partition(b"\n\n")[2]
        try:
            found = open_checkpoint(data, self.logs)
        except Bad:
            return None
        self.times += [(found[1], seconds) for _, holds, seconds in self.cosignatures(data) if holds]
        return found

    def check_older(self, name: str, found: tuple[str, int, bytes] | None, tree: Tree | None) -> None:
        if self.head is None or tree is None:
            self.say("consistency", UNKNOWN, f"{name}: no signed checkpoint to hold it against")
        elif found is None or found[0] != self.head[0]:
            self.say("consistency", FAIL, f"{name} is not signed by this log")
        elif found[1] > self.head[1]:
            self.say("consistency", UNKNOWN, f"{name} has size {found[1]}, which this folder does not reach")
        else:
            root = tree.root(tree.side, found[1])
            if root is None:
                self.say("consistency", UNKNOWN, f"{name}: leaves before {found[1]} are missing")
            elif root != found[2]:
                self.say("consistency", FAIL, f"{name}: this log had another root at size {found[1]}")
            else:
                self.say("consistency", PASS, f"{name}: the tree of size {found[1]} begins this one")

    def check_rest(self, tree: Tree) -> None:
        """Cosigned times, openings, replay."""
        if self.times:
            wrong = [
                (index, size)
                for size, seconds in self.times
                for index, sign in ((size - 1, 1), (size, -1))
                if index in tree.t and not fits(tree.t[index], seconds, sign)
            ]
            if wrong:
                self.say("times", FAIL, f"entry {wrong[0][0]} does not fit the cosigned time of size {wrong[0][1]}")
            else:
                self.say("times", PASS, f"{len(self.times)} cosigned times fit")
        if tree.openings is None:
            return
        self.say("disclosures", *tree.openings.found())
        replay = tree.replay
        if replay.wrong:
            index, why = replay.wrong[0]
            self.say("replay", FAIL, f"{len(replay.wrong)} unjustified, first {replay.shard}:{index}: {why}")
        elif replay.justified:
            self.say("replay", PASS, f"{replay.justified} justified, {replay.unopened} unopened")


def fits(t: bytes, seconds: int, sign: int) -> bool:
    """Whether an entry's time is not more than 5 minutes on the wrong side of a cosigned one."""
    try:
        whole = calendar.timegm(time.strptime(t.decode()[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return False
    return (whole + int(t[20:23]) / 1000 - seconds) * sign <= 300


def read_index(lines: list[str]) -> int:
    match = re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[1]) if len(lines) > 1 else None
    if match is None:
        raise Bad("no index")
    return int(match[1])


def included(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162 §2.1.3.2)."""
    last, left = size - 1, list(proof)
    if index > last:
        return None
    while last:
        if index & 1 or index == last:
            while not index & 1:
                index, last = index >> 1, last >> 1
            if not left:
                return None
            leaf = sha256(b"\x01" + left.pop(0) + leaf).digest()
        else:
            if not left:
                return None
            leaf = sha256(b"\x01" + leaf + left.pop(0)).digest()
        index, last = index >> 1, last >> 1
    return None if left else leaf


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an exported log, or one receipt.")
    parser.add_argument("path", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--vkey", default="", help="the log's public key, from a source of your own")
    parser.add_argument("--trust", action="append", type=Path, default=[], help="an older checkpoint or receipt")
    parser.add_argument("--entry", type=Path, help="the entry of a receipt; else the file beside it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        verifier = Verifier(given.vkey, [(path.name, path.read_bytes()) for path in given.trust])
        if given.path.is_dir():
            verifier.folder(given.path)
        elif given.path.is_file():
            verifier.proof(given.path, given.entry or given.path.with_suffix(".entry"))
        else:
            raise FileNotFoundError(2, "nothing there to verify")
    except OSError as exc:
        sys.stderr.write(f"error: cannot be read: {exc.strerror}\n")
        return 5
    states = {state for _, state, _ in verifier.checks}
    code = 7 if FAIL in states else 9 if UNKNOWN in states else 0
    verdict = {0: "verified", 7: "failed", 9: "cannot tell"}[code]
    if given.json:
        checks = [{"check": name, "state": state, "found": found} for name, state, found in verifier.checks]
        report = {"schema": "chartbridge.ledger.verify/1", "verdict": verdict, "checks": checks}
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        lines = [f"{state:<9}{name:<13}{found}" for name, state, found in verifier.checks]
        sys.stdout.write("\n".join([*lines, f"verdict: {verdict}"]) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
