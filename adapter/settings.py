"""A site's configuration: one frozen `Settings`, from `chartbridge.toml`, the environment and flags.

Order: flag, environment (`CHARTBRIDGE_HTTP__PORT=8081`), TOML, default. An unknown key is an error that names the
nearest known one. Secrets stand in files of their own, named by `*_file`; those that the environment may hold, the
URLs of databases, show themselves to nobody, so the whole may be printed. Feeds and profiles are files of their own
(`feeds/*.toml`, `profiles/NAME/profile.toml`). Paths are relative to the site.
"""

import difflib
import functools
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from adapter.errors import ConfigurationError

FILE = "chartbridge.toml"
PREFIX = "CHARTBRIDGE_"
SITE_VARIABLE = "CHARTBRIDGE_SITE"
# environment variables of ours that are no settings: the site's folder, and what tests and tools go by
_OF_TESTS = "CDA_PACKAGES CORPUS CRASH_AT GOLDEN NEEDS_POSTGRES NEEDS_SOFTHSM STANDARDS TOOLS VALIDATOR".split()
RESERVED = frozenset({SITE_VARIABLE, *(PREFIX + name for name in _OF_TESTS)})
DEPTH = 4  # words of the longest setting, access.client.ID.scopes
# Fetch standard, origins as browsers send them; without TLS only from the machine that the browser runs on
ORIGIN = re.compile(
    r"(https://([a-z0-9.-]+|\[[0-9a-f:]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9][0-9]{0,4})?"
)
OWN_PORT = {"https": ":443", "http": ":80"}
SERVED = ("store", "vault", "ledger")  # sections whose `url` may name a database
LOOPBACK = ("127.0.0.1", "::1", "localhost")


Canonical = Annotated[str, Field(pattern=r"^(https?://|urn:)[^\s|]+(\|[^\s|]+)?$")]  # FHIR R4 datatypes.html#canonical


def _origin(value: str) -> str:
    if not ORIGIN.fullmatch(value) or value.endswith(OWN_PORT.get(value.partition(":")[0], "")):
        raise ValueError("not an origin as browsers send it: https://host, and a port only where it is not 443")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
Web = Annotated[str, Field(pattern=r"^(https?://\S+)?$")]


class Section(BaseModel):
    """One table of the file: frozen, and no key that we do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(Section):
    """Who this node is."""

    org: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="short name of the organisation, on every row")
    name: str = Field(description="name of the organisation as people read it")
    system: str = Field(description="identifier system of the organisation")
    identifier: str = Field(description="its identifier in that system")
    zone: str = Field(default="UTC", description="IANA time zone of dates that carry none")
    pairing: str = Field(pattern=r"^[0-9a-f]{32}$", description="ties the four stores of a site together")

    @field_validator("zone")
    @classmethod
    def known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as exc:
            raise ValueError("not an IANA time zone") from exc
        return value


class Http(Section):
    """The FHIR API."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    base: str = Field(
        default="", description="the public URL of `/fhir`, audience of the tokens; empty: from host and port"
    )
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    proxy: bool = Field(default=False, description="a proxy in front ends TLS")
    health_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="of `/livez` and `/readyz` where a role without the API runs alone; 0: none",
    )
    origins: tuple[Origin, ...] = Field(
        default=(), description="origins of browsers' apps that may read answers (CORS); none: no page of elsewhere may"
    )
    instantiates: tuple[Canonical, ...] = Field(
        default=(), description="statements that the CapabilityStatement claims to fulfil, by their canonical URL"
    )
    implementation_guide: tuple[Canonical, ...] = Field(
        default=(), description="implementation guides that it claims to follow, by their canonical URL"
    )


class Store(Section):
    """The data store and the journal."""

    path: Path = Path("data.sqlite3")
    journal: Path = Path("journal.sqlite3")
    journal_place: Literal["file", "database"] = Field(
        default="file", description="where the journal lies: in that file, or in the database of the data store"
    )
    readers: int = Field(default=2, ge=1, le=32)
    url_file: Path | None = Field(default=None, description="holds the URL of a PostgreSQL database for the data store")
    url: SecretStr = Field(default=SecretStr(""), description="that URL itself; in the environment only")
    connections: int = Field(default=8, ge=1, le=200, description="to that database, of one process")


class Vault(Section):
    """Subject keys and sealed details; a store of its own, with its own backups."""

    path: Path = Path("vault/vault.sqlite3")
    url_file: Path | None = Field(default=None, description="holds the URL of a PostgreSQL database for it alone")
    url: SecretStr = Field(default=SecretStr(""), description="that URL itself; in the environment only")


class Keys(Section):
    """Files of mode 0600."""

    kek_file: Path = Path("keys/kek")
    log_file: Path = Path("keys/log")
    token_file: Path = Path("keys/token")


class Ledger(Section):
    """The node's Merkle log."""

    name: str = Field(description="host and log; the origin is NAME/SHARD")
    shard: str = Field(pattern=r"^\d{4}$", description="the year whose shard is appended to")
    path: Path = Path("log.sqlite3")
    url_file: Path | None = Field(default=None, description="holds the URL of a PostgreSQL database for it alone")
    url: SecretStr = Field(default=SecretStr(""), description="that URL itself; in the environment only")
    www: Path = Path("www")
    checkpoint_s: float = Field(default=1.0, gt=0, le=60)
    checkpoint_entries: int = Field(default=4096, ge=1)


class Client(Section):
    """One client of the API: an organisation's system, with what it may ask for."""

    system: str = Field(description="identifier system of the client's organisation")
    identifier: str = Field(description="its identifier in that system")
    name: str = ""
    roles: tuple[str, ...] = ()
    scopes: str = Field(description="SMART v2 scopes, separated by blanks")
    purposes: tuple[str, ...] = Field(min_length=1, description="v3-ActReason codes; the first is the default")
    feed: str = Field(default="", description="feed that it may POST to /hl7v2")
    notify: tuple[str, ...] = Field(default=(), description="hosts, or host:port, its subscriptions may name")


class Access(Section):
    """Tokens, clients and the house rules."""

    inside: Literal["deny", "treatment", "all", "break-glass"] = "treatment"
    across: Literal["deny", "treatment", "all", "break-glass"] = "deny"
    token_s: int = Field(default=300, ge=1, le=3600, description="life of a token")
    token_url: Web = Field(default="", description="where clients get tokens, for them to discover; empty: nowhere")
    authorize_url: Web = Field(default="", description="where people permit a client, for it to discover")
    client: dict[str, Client] = Field(default_factory=dict)


class Workers(Section):
    """Conversion children and lane workers."""

    children: int = Field(default=1, ge=1, le=64)
    convert_s: float = Field(default=10.0, gt=0, description="a message's time in a child, in seconds")
    memory_mib: int = Field(default=512, ge=128, description="address space a child may add")
    batch: int = Field(default=20, ge=1, le=500, description="messages a worker commits together")
    lease_s: float = Field(default=10.0, ge=1, le=300, description="after which another worker takes over, in seconds")


class Settings(BaseSettings):
    """All sections. `load` is the way in."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__")

    node: Node
    http: Http = Http()
    store: Store = Store()
    vault: Vault = Vault()
    keys: Keys = Keys()
    ledger: Ledger
    access: Access = Access()
    workers: Workers = Workers()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` lays the three sources over each other, so that a flag stands above all


def find_site(site: Path | None = None) -> Path:
    """The site's folder: the flag, CHARTBRIDGE_SITE, else the nearest folder upwards with a `chartbridge.toml`."""
    named = site or (Path(value) if (value := os.environ.get(SITE_VARIABLE)) else None)
    if named is not None:
        if not (named / FILE).is_file():
            raise ConfigurationError(f"no {FILE} in the named site", hint="chartbridge init DIR")
        return named.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder
    raise ConfigurationError("no site here", hint="chartbridge init DIR, or --site DIR")


def load(site: Path, **flags: Any) -> Settings:
    """Read and check a site's settings. Raises ConfigurationError, with the nearest known key for an unknown one."""
    try:
        text = (site / FILE).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ConfigurationError(f"{FILE} cannot be read: {reason}", hint="chartbridge init DIR") from exc
    return parse(text, _environment(), flags)


def parse(text: str, *over: dict[str, Any]) -> Settings:
    """Settings from the file's text, with what stands above it, lowest first. Raises ConfigurationError."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{FILE} is not TOML: {exc}", hint=f"edit {FILE}") from exc
    for section in SERVED:
        if "url" in (values[section] if isinstance(values.get(section), dict) else ()):
            text = f"{section}.url is a secret and stands in no TOML"
            raise ConfigurationError(text, hint=f"name a file: {section}.url_file")
    try:
        return Settings(**functools.reduce(_merged, over, values))
    except ValidationError as exc:
        raise ConfigurationError(_explain(exc), hint=f"edit {FILE}") from exc


def url_of_environment() -> dict[str, Any]:
    """What a site that is being made takes from the environment: where its stores shall lie, which no file may say."""
    urls = {section: os.environ.get(f"{PREFIX}{section.upper()}__URL") for section in SERVED}
    return {section: {"url": url} for section, url in urls.items() if url}


def _environment() -> dict[str, Any]:
    """What the environment sets; a variable with our prefix that sets nothing is an error, not a wish."""
    for name in sorted(set(os.environ) - RESERVED):
        words = name.removeprefix(PREFIX).lower().split("__")
        if name.startswith(PREFIX) and (words[0] not in Settings.model_fields or len(words) > DEPTH):
            raise ConfigurationError(f"unknown variable {name}{_nearest('.'.join(words))}", hint="unset it")
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as exc:
        raise ConfigurationError(f"the environment cannot be read: {exc}", hint="docs/settings.md") from exc


def _merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = low.get(key)
        merged[key] = _merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _explain(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key {place}{_nearest(place)}")
        else:
            said = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {said[:1].lower()}{said[1:]}")
    return "; ".join(lines)


def _nearest(place: str) -> str:
    close = difflib.get_close_matches(place, [*Settings.model_fields, *sorted(known_keys())], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def known_keys() -> dict[str, str]:
    """Every setting with its description, `section.key`; `access.client.ID.key` stands for any client."""
    keys: dict[str, str] = {}
    for section, field in Settings.model_fields.items():
        model = cast(type[Section], field.annotation)
        for key, inner in model.model_fields.items():
            if key == "client":
                keys.update({f"access.client.ID.{k}": f.description or "" for k, f in Client.model_fields.items()})
            else:
                keys[f"{section}.{key}"] = inner.description or ""
    return keys
