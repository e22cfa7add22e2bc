"""A feed's profile: what its sender means where the standard leaves it open, and the rows that say so.

    profile = load_profile("default", identity_key)
    conversion = to_fhir(data, profile)

A profile is a folder with `profile.toml` and, where needed, `segments/*.csv`, `messages/*.toml`, `codes/*.csv`, or
the name of a shipped one. It may extend another: base < version < country < site < feed; a later row takes the
place of one with its id, switches it off with `never`, or stands beside the others; the shipped files stay as they
are. Everything is checked when it is loaded: an unknown key is an error that names the nearest known one. Compiled
rows are kept by the digest of all that went into them.

Source: design chapter HL7 v2 §3, §12.
"""

import difflib
import fnmatch
import hashlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from operator import itemgetter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from mappings.cda.settings import CdaSettings, cda_settings
from mappings.cda.settings import faults as cda_faults
from mappings.errors import MappingError
from mappings.fhir.schema import schema
from mappings.fhir.values import SOURCE_CODE
from mappings.hl7v2 import message as messages
from mappings.hl7v2 import registry
from mappings.hl7v2.wiring import Registry, Wiring, read_wiring
from mappings.hooks import FILE as HOOKS
from mappings.hooks import Hooks
from mappings.hooks import load as load_hooks
from mappings.identity import PUBLIC_KEY, Identities
from mappings.rows.compiler import CompiledRows, Environment, compile_maps
from mappings.rows.errors import RowsError
from mappings.rows.table import Row, lay_over, read_rows
from mappings.terminology import concept_map

Json = dict[str, Any]

BASE = Path(__file__).parent / "hl7v2"
PROFILES = Path(__file__).parent / "profiles"
KEPT = "kept"  # the family of structures without a map of their own

CACHE_ENTRIES = 8  # compiled row sets a process keeps; ways of reading a profile keeps caches for

POLICIES: Mapping[str, tuple[Any, ...]] = {
    "obx5_repeat": ("component", "split"),
    "nk1": ("guide", "contact", "related"),
    "encounter_from_result": ("stub", "none"),
    "comments": ("note", "observation"),
    "unknown_code": ("keep",),
    "downgrade": ("refuse", "apply"),
    "visit": ("visit", "account"),
    "pid19": ("none", "*"),  # or the URI of the system its numbers belong to
    "decimal_comma": (False, True),
    "con": ("keep", "map"),
}  # the first value is the default
_CHOICES: Mapping[str, tuple[str, ...]] = {"null": ("delete", "ignore"), "demographics": ("lead", "follow")}
_KEYS = (
    "name", "extends", "match", "filter", "namespace", "zone", "charset", "null", "demographics", "patient", "ack",
    "authorities", "codes", "segments", "policy", "limits", "cda",
)  # fmt: skip
_MATCH = ("msh3", "msh4", "msh5", "msh6", "msh9", "msh11", "msh12")
_ACK: Mapping[str, tuple[str, ...]] = {
    "mode": ("auto", "original", "enhanced"),
    "after": ("durable", "mapped"),
    "unsupported": ("accept", "reject"),
}
_TABLES: Mapping[str, tuple[str, ...]] = {
    "charset": ("default", "trust"),
    "ack": (*_ACK, "processing", "reply_to"),
    "patient": ("identity",),
    "limits": (*(each.name for each in fields(messages.Limits)), "resources", "seconds"),
    "policy": tuple(POLICIES),
    "match": _MATCH,
}


class _Kinds(msgspec.Struct):
    """Of which kind each value is."""

    extends: str = ""
    zone: str = ""
    filter: list[dict[str, str]] = []
    match: dict[str, str] = {}
    charset: dict[str, str] = {}
    patient: dict[str, list[str]] = {}
    ack: dict[str, str | list[str]] = {}
    authorities: dict[str, str] = {}
    codes: dict[str, dict[str, str]] = {}
    segments: dict[str, dict[str, Any]] = {}
    policy: dict[str, str | bool] = {}
    limits: dict[str, int | float] = {}
    cda: dict[str, str | dict[str, str | int]] = {}


class ProfileError(MappingError):
    """A profile that cannot be used; `faults` are `profile: where: what`."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Filter:
    """Messages that are journaled and acknowledged, and not mapped."""

    id: str
    when: Any  # (MSH segment, context) -> bool


@dataclass(frozen=True, slots=True)
class Maps:
    """The compiled part of a profile: rows and families."""

    rows: CompiledRows
    families: Mapping[str, Wiring]
    reads: Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]
    single: Mapping[str, Mapping[str, tuple[int, ...]]]
    table: Mapping[str, Row]  # every row by id, disabled ones too
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One feed's profile, compiled. `cache` holds pure results of datatype functions between messages."""

    name: str
    namespace: str
    zone: ZoneInfo | None
    charset: str | None
    trust: str
    null: str
    demographics: str  # lead, follow; "" by the kind of message
    identity: tuple[str, ...]
    match: Mapping[str, str]
    filters: tuple[Filter, ...]
    ack: Mapping[str, Any]
    authorities: Mapping[str, str]
    codes: Mapping[str, Any]
    policy: Mapping[str, Any]
    limits: messages.Limits
    most_resources: int
    identities: Identities
    maps: Maps
    hooks: Hooks
    cda: CdaSettings
    revision: str  # of all that decides what a message becomes: rows, tables, policies, hooks
    cache: dict[Any, dict[Any, Any]] = field(default_factory=dict, repr=False)

    def cache_of(self, *reading: Any) -> dict[Any, Any]:
        """The cache of messages read alike: equal text means the same under equal separators and charset only."""
        found = self.cache.get(reading)
        if found is None:
            if len(self.cache) >= CACHE_ENTRIES:
                self.cache.clear()
            found = self.cache[reading] = {}
        return found

    def read(self, data: bytes) -> messages.Message:
        """A message as this profile reads it, hooks and all. Raises UnreadableMessage, HookFailed."""
        read = messages.parse(data, charset=self.charset, trust=self.trust, limits=self.limits)
        return self.hooks.read(read) if self.hooks.before else read

    def reads(self, family: str) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """Segment → ranges of fields that nothing reads."""
        return self.maps.reads[family]

    def single(self, family: str) -> Mapping[str, tuple[int, ...]]:
        """Segment → fields of which one repetition is read."""
        return self.maps.single[family]

    def family(self, name: str) -> Wiring:
        """The wiring of a family; what has none is kept."""
        return self.maps.families.get(name) or self.maps.families[KEPT]

    def matches(self, header: Any) -> bool:
        """Whether the header's sender may use this feed; each pattern is a glob on the field's first component."""
        return all(
            fnmatch.fnmatchcase(header.component(int(name[3:]), 1), pattern) for name, pattern in self.match.items()
        )


def load_profile(where: str | Path, identity_key: bytes = PUBLIC_KEY) -> Profile:
    """A profile by its folder, its `profile.toml` or the name of a shipped one. Raises ProfileError, RowsError."""
    layers = list(_layers(profile_folder(where)))
    merged: Json = {}
    for _, table in layers:
        merged = _merge(merged, table)
    folders = [folder for folder, _ in layers]
    faults = list(_faults(merged)) or list(_file_faults(folders))
    if faults:
        raise ProfileError(tuple(f"{merged.get('name', where)}: {fault}" for fault in faults))
    return _profile(merged, folders, Identities(identity_key))


def profile_folder(where: str | Path) -> Path:
    """The folder of a profile: its own path, that of its `profile.toml`, or a shipped name's. Raises ProfileError."""
    path = Path(where)
    if path.name == "profile.toml":
        path = path.parent
    for candidate in (path, PROFILES / path):
        if (candidate / "profile.toml").is_file():
            return candidate
    shipped = sorted(each.parent.name for each in PROFILES.glob("*/profile.toml"))
    raise ProfileError((f"no profile {path.name}{_nearest(path.name, shipped)}",))


def own_digest(where: str | Path) -> str:
    """A digest of a profile's files that are not shipped ones, as they lie there now; "" where it has none.

    Nothing is compiled or judged: of a profile with a fault it says that much, that it is another than before.
    """
    found, files = hashlib.sha256(), 0
    for file in _own_files(profile_folder(where)):
        content = file.read_bytes()
        found.update(f"{file.parent.name}/{file.name}:{len(content)}:".encode() + content)
        files += 1
    return found.hexdigest() if files else ""


def _own_files(folder: Path) -> Iterator[Path]:
    """All that decides what a message becomes, layer by layer, without the shipped ones."""
    try:
        layers = list(_layers(folder))
    except ProfileError:
        layers = [(folder, {})]
    codes = [table.get("codes") for _, table in layers]
    entries = [entry for each in codes if isinstance(each, dict) for entry in each.values()]
    maps = sorted({str(entry["map"]) for entry in entries if isinstance(entry, dict) and "map" in entry})
    for layer, _ in layers:
        if not layer.is_relative_to(PROFILES):
            files = (layer / "profile.toml", *_all_files(layer), layer / HOOKS, *(layer / name for name in maps))
            yield from (file for file in files if file.is_file())


def _layers(folder: Path, seen: tuple[Path, ...] = ()) -> Iterator[tuple[Path, Json]]:
    """(folder, table) of the profile and of all it extends, the most general first."""
    if folder in seen:
        raise ProfileError((f"{folder.name}: extends itself",))
    try:
        table = tomllib.loads((folder / "profile.toml").read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ProfileError((f"{folder.name}: not TOML: {exc}",)) from exc
    except OSError as exc:
        raise ProfileError((f"{folder.name}: profile.toml cannot be read: {exc.strerror}",)) from exc
    if parent := table.get("extends"):
        beside = folder.parent / str(parent)
        yield from _layers(
            beside if (beside / "profile.toml").is_file() else profile_folder(str(parent)), (*seen, folder)
        )
    yield folder, table


def _merge(base: Json, over: Json) -> Json:
    """Tables merge, everything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _faults(table: Json) -> Iterator[str]:
    """Everything wrong with the keys and plain values of a profile."""
    for key in table.keys() - set(_KEYS):
        yield f"unknown key {key}{_nearest(key, _KEYS)}"
    for key, known in _TABLES.items():
        entry = table.get(key, {})
        if not isinstance(entry, dict):
            yield f"{key} is not a table"
            continue
        for inner in entry.keys() - set(known):
            yield f"unknown key {key}.{inner}{_nearest(inner, known)}"
    for key, allowed in _CHOICES.items():
        if key in table and table[key] not in allowed:
            yield f"{key} is one of {', '.join(allowed)}"
    if all(isinstance(table.get(key, {}), dict) for key in _TABLES):
        yield from _policy_faults(table)
        yield from cda_faults(table.get("cda", {}))
        try:
            msgspec.convert(table, _Kinds)
        except msgspec.ValidationError as exc:
            text, _, place = str(exc).partition(" - at ")
            yield f"{place.strip('`').removeprefix('$.')}: {text[:1].lower()}{text[1:]}"
    for key in ("name", "namespace"):
        if not isinstance(table.get(key), str) or not table[key]:
            yield f"{key} is missing"
    if ":" not in str(table.get("namespace", ":")):
        yield "namespace is not a URI"


def _policy_faults(table: Json) -> Iterator[str]:
    for key, value in table.get("policy", {}).items():
        allowed = POLICIES.get(key, ("*",))
        if "*" not in allowed and value not in allowed:
            yield f"policy.{key} is one of {', '.join(str(each).lower() for each in allowed)}"
    for key, value in table.get("ack", {}).items():
        if key in _ACK and value not in _ACK[key]:
            yield f"ack.{key} is one of {', '.join(_ACK[key])}"
    if table.get("charset", {}).get("trust", "detect") not in ("detect", "declared"):
        yield "charset.trust is one of detect, declared"


def _file_faults(folders: list[Path]) -> Iterator[str]:
    """Files of the layers that cannot be read at all; what stands in them is judged where it is read."""
    for file in (file for folder in folders for file in _own_files(folder) if file.name != HOOKS):
        try:
            text = file.read_text("utf-8")
            if file.suffix == ".toml":
                tomllib.loads(text)
        except UnicodeDecodeError as exc:
            yield f"{file.parent.name}/{file.name} is not UTF-8: {exc.reason} at byte {exc.start}"
        except tomllib.TOMLDecodeError as exc:
            yield f"{file.parent.name}/{file.name} is not TOML: {exc}"
        except OSError as exc:
            yield f"{file.parent.name}/{file.name} cannot be read: {exc.strerror}"


def _profile(table: Json, folders: list[Path], identities: Identities) -> Profile:
    policy = {name: values[0] for name, values in POLICIES.items()} | table.get("policy", {})
    limits = table.get("limits", {})
    known = {each.name for each in fields(messages.Limits)}
    charset = table.get("charset", {})
    ack = {"mode": "auto", "after": "durable", "unsupported": "accept", "processing": ["P"]} | table.get("ack", {})
    segments = {name: str(entry.get("group", "")) for name, entry in table.get("segments", {}).items()}
    maps = compiled(folders, policy, table.get("null", "delete") == "ignore", segments)
    hooks = load_hooks(folders)
    return Profile(
        name=table["name"],
        namespace=table["namespace"],
        zone=_zone(table),
        charset=charset.get("default"),
        trust=charset.get("trust", "detect"),
        null=table.get("null", "delete"),
        demographics=table.get("demographics", ""),
        identity=tuple(table.get("patient", {}).get("identity", ())),
        match=table.get("match", {}),
        filters=tuple(_filters(table, policy)),
        ack=ack,
        authorities=table.get("authorities", {}),
        codes={name: _codes(table["name"], name, entry, folders) for name, entry in table.get("codes", {}).items()},
        policy=policy,
        limits=messages.Limits(**{key: value for key, value in limits.items() if key in known}),
        most_resources=limits.get("resources", 20_000),
        identities=identities,
        maps=maps,
        hooks=hooks,
        cda=(cda := cda_settings(table.get("cda", {}), folders)),
        revision=_revision(table, folders, maps.digest, cda.digest, hooks.digest),
    )


def _revision(table: Json, folders: list[Path], *parts: str) -> str:
    """A digest of the profile's settings, its code maps, its rows and its hooks."""
    found = hashlib.sha256(repr((sorted(table.items(), key=itemgetter(0)), parts)).encode())
    for path in (
        folder / entry["map"] for folder in folders for entry in table.get("codes", {}).values() if "map" in entry
    ):
        if path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _zone(table: Json) -> ZoneInfo | None:
    if "zone" not in table:
        return None
    try:
        return ZoneInfo(table["zone"])
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ProfileError((f"{table['name']}: zone is not an IANA time zone",)) from exc


def _filters(table: Json, policy: Mapping[str, Any]) -> Iterator[Filter]:
    from mappings.hl7v2.wiring import predicate
    from mappings.rows.condition import fold, parse_condition

    for entry in table.get("filter", ()):
        try:
            condition = fold(parse_condition(entry["when"]), _texts(policy))
        except (KeyError, ValueError) as exc:
            raise ProfileError((f"{table['name']}: filter: {exc.args[0] if exc.args else 'no condition'}",)) from exc
        holds = _always(condition) if isinstance(condition, bool) else predicate(condition, "MSH")
        yield Filter(str(entry.get("id", "")), holds)


def _always(holds: bool) -> Callable[[Any, Any], bool]:
    """A condition that the profile's policies alone decide."""
    return lambda segment, ctx: holds


def _codes(profile: str, name: str, entry: Json, folders: list[Path]) -> Json:
    """One local coding system: its URI, and standard codes its map adds."""
    if not isinstance(entry, dict) or "system" not in entry or entry.keys() - {"system", "map"}:
        raise ProfileError((f"{profile}: codes.{name} takes system and map",))
    if "map" not in entry:
        return {"system": entry["system"], "table": {}}
    path = next((folder / entry["map"] for folder in reversed(folders) if (folder / entry["map"]).is_file()), None)
    if path is None:
        raise ProfileError((f"{profile}: codes.{name}: no file {entry['map']}",))
    found = concept_map.read(name, path)
    table = {
        code: ({"system": c.system, "code": c.code} | ({"display": c.display} if c.display else {}),)
        for code, c in found.concepts.items()
    }
    return {"system": entry["system"], "table": table}


# rows -----------------------------------------------------------------------------------------------------------------

_compiled: dict[str, Maps] = {}


def compiled(folders: list[Path], policy: Mapping[str, Any], ignore_null: bool, segments: Mapping[str, str]) -> Maps:
    """The rows and families of these layers, compiled once by the digest of everything that went in."""
    files = [*_files(BASE), *(file for folder in folders for file in _files(folder))]
    digest = hashlib.sha256(f"{sys.version}{sorted(policy.items())}{ignore_null}{sorted(segments.items())}".encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.parent.name}/{file.name}:{len(content)}:".encode() + content)
    name = digest.hexdigest()
    if name not in _compiled:
        if len(_compiled) >= CACHE_ENTRIES:
            _compiled.pop(next(iter(_compiled)))
        _compiled[name] = _compile(folders, policy, ignore_null, segments, name)
    return _compiled[name]


def _files(folder: Path) -> list[Path]:
    return [*sorted((folder / "segments").glob("*.csv")), *sorted((folder / "messages").glob("*.toml"))]


def _all_files(folder: Path) -> list[Path]:
    return [*_files(folder), *sorted((folder / "entries").glob("*.csv"))]


def _compile(
    folders: list[Path], policy: Mapping[str, Any], ignore_null: bool, segments: Mapping[str, str], digest: str
) -> Maps:
    layers: list[tuple[Row, ...]] = []
    for folder in (BASE, *folders):
        overlay = "base" if folder == BASE else folder.name
        rows = [
            read_rows(file, overlay, f"segments/{file.name}") for file in sorted((folder / "segments").glob("*.csv"))
        ]
        layers.append(tuple(row for each in rows for row in each))
    table = lay_over(layers)
    by_map: dict[str, list[Row]] = {}
    for row in table:
        by_map.setdefault(row.map, []).append(row)
    env = Environment(
        schema=schema(),
        functions=registry.functions(),
        resolvers=registry.resolvers(),
        vocabulary=concept_map.load,
        policy=_texts(policy),
        ignore_null=ignore_null,
        source_code=SOURCE_CODE,
    )
    rows_compiled = compile_maps(by_map, env)
    families = _families(folders, rows_compiled, registry.wiring(), _texts(policy), segments)
    reads = {name: registry.reads(wiring, rows_compiled) for name, wiring in families.items()}
    single = {name: registry.single(wiring, rows_compiled) for name, wiring in families.items()}
    return Maps(rows_compiled, families, reads, single, {row.id: row for row in table}, digest)


def _families(
    folders: list[Path],
    rows: CompiledRows,
    functions: Registry,
    policy: Mapping[str, str],
    segments: Mapping[str, str],
) -> dict[str, Wiring]:
    """Each family by the last layer that has its file."""
    paths: dict[str, Path] = {}
    for folder in (BASE, *folders):
        paths |= {path.stem: path for path in sorted((folder / "messages").glob("*.toml"))}
    faults: list[str] = []
    families: dict[str, Wiring] = {}
    for name, path in paths.items():
        try:
            families[name] = read_wiring(path, rows, functions, policy, schema(), segments)
        except RowsError as exc:
            faults += exc.faults
    if faults:
        raise RowsError(tuple(faults))
    return families


def _texts(policy: Mapping[str, Any]) -> dict[str, str]:
    """Policies as conditions compare them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in policy.items()}
