"""Feeds: one file of `feeds/` each, read into frozen values and checked before anything listens.

A feed is one sender's stream: how it comes in, under which profile it is read, what happens when one message cannot be
converted. What its messages mean is the profile's (`mappings/profile.py`), and a change of the site's files of it is a
change of the feed. An unknown key is an error that names the nearest known one; a port open to strangers is an error
too. Paths in `tls` are relative to the site.
Source: operations chapter §4.
"""

import difflib
import hashlib
import ipaddress
import tomllib
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from adapter.errors import ConfigurationError
from adapter.profiles import own_files

FOLDER = "feeds"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
_DERIVED = ("revision", "text")  # of a feed, and no keys of its file
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Pattern = Annotated[str, Meta(min_length=1, max_length=255)]


@dataclass(frozen=True, slots=True)
class Tls:
    """Server certificate; with `client_ca_file` clients must show one, with `client_names` one of these names."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sender may make us hold or wait for (`docs/mllp.md`)."""

    frame_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 * 1024 * 1024
    frame_s: Seconds = 30.0
    idle_s: Seconds = 900.0
    connections: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    file_bytes: Annotated[int, Meta(ge=1024, le=1 << 32)] = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listen:
    """Where messages come in. Port 0 takes a free one. `path` and what follows are a folder's."""

    kind: Literal["mllp", "http", "folder"] = "mllp"
    host: str = "127.0.0.1"
    port: Port = 2575
    tls: Tls | None = None
    allow: tuple[str, ...] = ()
    limits: Limits = Limits()
    path: Path | None = None
    pattern: Pattern | tuple[Pattern, ...] = ("*.hl7", "*.xml")
    poll_s: Seconds = 2.0
    stable_s: Seconds = 2.0

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(network) for network in self.allow)

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name that resolves to who knows what


@dataclass(frozen=True, slots=True)
class Policy:
    """What a message that cannot be converted does to those behind it, and what counts as one.

    With `invariants`, what a message becomes has to keep R4's constraints too, not only its schema.
    """

    poison: Literal["hold-patient", "skip", "hold-feed"] = "hold-patient"
    invariants: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """One sender's stream. `revision` is a digest of its file, `text`, and of the site's own files of its profile: what
    runs is compared with what lies there."""

    name: Name
    org: Name
    profile: Name
    state: Literal["running", "paused", "draining", "stopped"] = "running"
    listen: Listen = Listen()
    policy: Policy = Policy()
    revision: str = ""
    text: str = field(default="", repr=False, compare=False)

    @property
    def receives(self) -> bool:
        """Whether it takes new messages; a paused feed accepts and holds."""
        return self.state in ("running", "paused")

    @property
    def processes(self) -> bool:
        """Whether what it has taken goes on; a draining feed works off what there is."""
        return self.state in ("running", "draining")


def load_feeds(site: Path, org: str) -> dict[str, Feed]:
    """All feeds of a site by name. Raises ConfigurationError for the first that cannot run."""
    feeds = [read_feed(path, site, org) for path in sorted((site / FOLDER).glob("*.toml"))]
    _unique("feed name", (feed.name for feed in feeds))
    _unique("port", (feed.listen.port for feed in feeds if feed.listen.kind == "mllp" and feed.listen.port))
    _unique("folder", (feed.listen.path for feed in feeds if feed.listen.kind == "folder"))
    return {feed.name: feed for feed in feeds}


def read_feed(path: Path, site: Path, org: str) -> Feed:
    """One feed from its file."""
    place = f"{FOLDER}/{path.name}"
    try:
        data = path.read_bytes()
        values = tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigurationError(f"{place} cannot be read: {reason}", hint=f"edit {place}") from exc
    feed = feed_from(values, place)
    if feed.org != org:
        raise ConfigurationError(f"{place}: org is not this node's", hint=f'write org = "{org}"')
    revision = revision_of(data, own_files(site, feed.profile))
    return replace(feed, listen=_resolved(feed.listen, site), revision=revision, text=data.decode("utf-8"))


def revision_of(data: bytes, profile: str) -> str:
    """The revision of a feed by its file, and behind a dot by the site's own files of its profile, if it has any."""
    return ".".join(digest[:12] for digest in (hashlib.sha256(data).hexdigest(), profile) if digest)


def feed_from(values: Mapping[str, Any], place: str = "feed") -> Feed:
    """A feed from the tables of its file, checked."""
    table = {("name" if key == "feed" else key): value for key, value in values.items() if key != "name"}
    unknown = [key for key in ("name", *_DERIVED) if key in values]
    unknown += _unknown(table, Feed)
    if unknown:
        raise ConfigurationError(f"{place}: {'; '.join(map(_advise, unknown))}", hint=f"edit {place}")
    try:
        feed = msgspec.convert(table, Feed, dec_hook=_path)
    except msgspec.ValidationError as exc:
        text = str(exc).replace("$.", "").replace("`name`", "`feed`")
        raise ConfigurationError(f"{place}: {text[:1].lower()}{text[1:]}", hint=f"edit {place}") from exc
    check(feed, place)
    return feed


def check(feed: Feed, place: str = "feed") -> None:
    """What types cannot say: networks, and no open door. Raises ConfigurationError."""
    listen = feed.listen
    try:
        _ = listen.networks
    except ValueError as exc:
        raise ConfigurationError(f"{place}: listen.allow holds what is no network", hint='as "10.20.0.0/16"') from exc
    if listen.tls and listen.tls.client_names and not listen.tls.client_ca_file:
        raise ConfigurationError(f"{place}: client_names without client_ca_file", hint="name the authority's file")
    if (listen.kind == "folder") != (listen.path is not None):
        text = "a folder without listen.path" if listen.path is None else "listen.path, and no folder"
        raise ConfigurationError(f"{place}: {text}", hint='kind = "folder" and path = "/srv/hl7/in" go together')
    if any("/" in pattern for pattern in listen.patterns) or not listen.patterns:
        raise ConfigurationError(f"{place}: listen.pattern names files, not folders", hint='as "*.hl7"')
    guarded = bool(listen.allow or (listen.tls and listen.tls.client_names))
    if listen.kind == "mllp" and not listen.loopback and not guarded:
        raise ConfigurationError(
            f"{place}: a port beyond loopback is open to everyone", hint="set listen.allow, or tls with client_names"
        )


def _resolved(listen: Listen, site: Path) -> Listen:
    if listen.path is not None:
        listen = replace(listen, path=site / listen.path)
    if listen.tls is None:
        return listen
    tls = listen.tls
    authority = site / tls.client_ca_file if tls.client_ca_file else None
    files = replace(tls, cert_file=site / tls.cert_file, key_file=site / tls.key_file, client_ca_file=authority)
    return replace(listen, tls=files)


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _unknown(table: Mapping[str, Any], model: type, prefix: str = "") -> list[str]:
    """Dotted keys that the model does not have."""
    known = _tables(model)
    found = []
    for key, value in table.items():
        if key not in known:
            found.append(prefix + key)
        elif (inner := known[key]) is not None and isinstance(value, dict):
            found += _unknown(value, inner, f"{prefix}{key}.")
    return found


def _tables(model: type) -> dict[str, type | None]:
    """Keys of a table, with the model of those that are tables themselves."""
    hints = get_type_hints(model)
    return {one.name: _table(hints[one.name]) for one in fields(model)}


def _table(hint: object) -> type | None:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)


def known_keys(model: type = Feed, prefix: str = "") -> list[str]:
    """Every key a feed file may hold, dotted, as the file spells it."""
    keys = []
    for key, inner in _tables(model).items():
        if prefix or key not in _DERIVED:
            keys.append("feed" if not prefix and key == "name" else prefix + key)
        if inner is not None:
            keys += known_keys(inner, f"{prefix}{key}.")
    return keys


def _advise(key: str) -> str:
    close = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.6)
    if not close:
        tail = {known.rsplit(".", 1)[-1]: known for known in known_keys()}
        close = [tail[name] for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], tail, n=1, cutoff=0.6)]
    return f"unknown key {key}" + (f"; did you mean {close[0]}?" if close else "")


def _unique(what: str, values: Iterable[object]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ConfigurationError(f"{what} {twice[0]} stands in two files of {FOLDER}/", hint="one feed, one file")
