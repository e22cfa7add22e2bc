"""The primitives of a resource, each with its path: `name[0].family`.

Source: FHIR R4 §2.6.2 (JSON); paths as FHIRPath would write them, without the type in front.
"""

from collections.abc import Iterator
from typing import Any


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every primitive below a value, in the order they stand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
