"""Who gets the message, and how it reads one: version, character set, zone, names of parties and systems.

The profile of a feed says what a sender's names stand for; a receiver's says the same backwards, so that what came
from a system can go back to it under its own names. `read_receiver` reads a TOML file, documented in docs/outbound.md.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mappings.fhir.values import CANONICAL
from mappings.hl7v2.charset import codec_of
from mappings.hl7v2.out.grammar import VERSIONS
from mappings.outbound.errors import OutboundError
from mappings.profile import Profile, load_profile

_PATHLESS = ("urn:oid:", "urn:uuid:")
_WIDE = frozenset({"utf_16", "utf_32"})  # no v2 receiver reads frames of them; MLLP's bytes would stand inside
_KEYS = frozenset(
    {"version", "charset", "zone", "processing", "sending", "receiving", "profile", "authorities", "codes"}
)  # fmt: skip


class Name(NamedTuple):
    """An HD: namespace, universal id, its type."""

    namespace: str = ""
    universal: str = ""
    kind: str = ""


_NOBODY, _US = Name(), Name("CHARTBRIDGE")


@dataclass(frozen=True, slots=True)
class Receiver:
    """`namespaces`: system URI → the HD the receiver knows it by; `codes`: code system URI → the name in CWE.3;
    `namespace`: base of the URIs that its feed's profile gave to names without one, which turn into names again.
    """

    version: str = "2.5.1"
    charset: str = "UNICODE UTF-8"  # as MSH-18 says it
    zone: ZoneInfo | None = None  # of times that are written; without one they keep the offset they have
    sending_application: Name = _US
    sending_facility: Name = _NOBODY
    receiving_application: Name = _NOBODY
    receiving_facility: Name = _NOBODY
    processing: str = "P"
    namespace: str = ""
    namespaces: Mapping[str, Name] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise OutboundError(f"no version we write: expected one of {', '.join(VERSIONS)}")
        if self.charset and codec_of(self.charset) in (None, *_WIDE):
            raise OutboundError("no character set we write")
        if self.processing not in ("P", "T", "D"):
            raise OutboundError("processing: expected P, T or D")

    @property
    def codec(self) -> str:
        return (codec_of(self.charset) if self.charset else None) or "ascii"

    @property
    def scope(self) -> str:
        """The base of feed-scoped URIs as the datatype functions write it (`fhir/values.scoped`)."""
        base = self.namespace
        return f"{CANONICAL}:{base[4:]}" if base.startswith(_PATHLESS) else base

    @classmethod
    def of(cls, profile: Profile, **settings: Any) -> "Receiver":
        """The names of a profile, backwards. Raises OutboundError where two names stand for one system."""
        return cls(
            namespace=profile.namespace,
            namespaces=_backwards({name: str(uri) for name, uri in profile.authorities.items()}),
            codes=_once({name: str(site["system"]) for name, site in profile.codes.items()}),
            **settings,
        )


def _backwards(authorities: Mapping[str, str]) -> dict[str, Name]:
    return {uri: hd_of(name, uri) for uri, name in _once(authorities).items()}


def _once(names: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, uri in names.items():
        if uri in found and found[uri] != name:
            raise OutboundError(f"{found[uri]} and {name} stand for one system: name one of them for this receiver")
        found[uri] = name
    return found


def hd_of(name: str, uri: str) -> Name:
    """A named system as an HD, with its universal id where the URI is one."""
    for start, kind in (("urn:oid:", "ISO"), ("urn:uuid:", "UUID")):
        if uri.startswith(start):
            return Name("" if name == uri[len(start) :] else name, uri[len(start) :], kind)
    return Name(name)


def read_receiver(path: Path) -> Receiver:
    """A receiver's TOML file. Raises OutboundError with what is wrong in it."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise OutboundError(f"{path.name}: {exc}") from exc
    if unknown := sorted(set(found) - _KEYS):
        raise OutboundError(f"{path.name}: unknown key {unknown[0]}: known are {', '.join(sorted(_KEYS))}")
    profile = load_profile(str(found.get("profile", "default")))
    base = Receiver.of(profile)
    return Receiver(
        version=str(found.get("version", base.version)),
        charset=str(found.get("charset", base.charset)),
        zone=_zone(found.get("zone"), path) if "zone" in found else profile.zone,
        sending_application=_name(found, "sending", "application", base.sending_application),
        sending_facility=_name(found, "sending", "facility", Name()),
        receiving_application=_name(found, "receiving", "application", Name()),
        receiving_facility=_name(found, "receiving", "facility", Name()),
        processing=str(found.get("processing", "P")),
        namespace=base.namespace,
        namespaces={**base.namespaces, **_backwards(found.get("authorities", {}))},
        codes={**base.codes, **_once(found.get("codes", {}))},
    )


def _zone(name: Any, path: Path) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise OutboundError(f"{path.name}: zone: no such time zone") from exc


def _name(found: Mapping[str, Any], side: str, part: str, default: Name) -> Name:
    """`"LAB"`, or `"LAB^2.999.3^ISO"`."""
    written = found.get(side, {}).get(part)
    return default if written is None else Name(*str(written).split("^")[:3])
