"""What is written for whom: the kind of document, and the names its numbers and codes go out under.

`Writing.of(profile)`: the organisation's root is the profile's `[cda] root`, else its namespace where that is an OID or
UUID; resources whose ids are UUIDs need none. `oids` is the profile's `[cda] oids`, read backwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from mappings.outbound.vocabulary import oid
from mappings.terminology.systems import is_oid, is_uuid

Kind = Literal["ccd", "ehdsi-ps"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_URNS = ("urn:oid:", "urn:uuid:")


@dataclass(frozen=True, slots=True)
class Writing:
    """`root`: OID or UUID under which this organisation's ids are unique; `oids`: URI of a system → its OID."""

    namespace: str
    root: str = ""
    oids: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: Any) -> "Writing":
        """The names of a profile, backwards."""
        known = {str(uri): number for number, uri in profile.cda.oids.items() if is_oid(number)}
        authorities = {str(uri): name for name, uri in profile.authorities.items() if is_oid(name)}
        return cls(profile.namespace, profile.cda.root or bare(profile.namespace), {**authorities, **known})

    def oid(self, system: str) -> str:
        """The OID or UUID of a system; "" where it has none."""
        found = self.oids.get(system) or bare(system) or oid(system) or ""
        return found if is_oid(found) else found.upper() if is_uuid(found.lower()) else ""


def bare(uri: str) -> str:
    """The OID or UUID that a URN is; "" for anything else."""
    for start in _URNS:
        if uri.startswith(start):
            found = uri[len(start) :]
            return found if is_oid(found) else found.upper() if is_uuid(found.lower()) else ""
    return ""
