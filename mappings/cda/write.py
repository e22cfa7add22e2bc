"""A FHIR document Bundle as CDA, for gateways that still speak it: the patient summary as C-CDA CCD, or eHDSI's pivot.

`compose` also tells what the document does not carry; `compose_cda` gives the bytes alone. Pure.
Source: C-CDA R2.1; eHDSI patient summary (wave 5); IPS 2.0.
"""

from typing import Any

from mappings.cda.out import KINDS, Composed, Kind, Writing
from mappings.cda.out import compose as _compose

__all__ = ["KINDS", "Composed", "Kind", "compose", "compose_cda"]

Json = dict[str, Any]


def compose(bundle: Json, kind: Kind, profile: Any) -> Composed:
    """The document, its issues, and the paths it does not carry. Raises OutboundError where it cannot be one."""
    return _compose(bundle, kind, Writing.of(profile))


def compose_cda(bundle: Json, kind: Kind, profile: Any) -> bytes:
    """The document's bytes."""
    return compose(bundle, kind, profile).data
