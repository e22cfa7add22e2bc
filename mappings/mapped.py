"""One resource as a conversion hands it on, and as it crosses between processes (`adapter/wire.py`).

In a file that is compiled in no build: its decoder reads the annotations, of which compiled code keeps but some.
"""

from typing import Any

import msgspec

from mappings.hl7v2.wiring import Mode

Json = dict[str, Any]


class Mapped(msgspec.Struct, frozen=True):
    """One resource that the message speaks of, and how it is to be joined with what is stored (`merge.py`)."""

    body: Json
    mode: Mode
    clear: tuple[str, ...]  # elements the sender nulled
    filled: tuple[str, ...]  # elements a `??` row put there: used only where nothing is stored
    own: tuple[str, ...]  # the event's own effect: applies though the message is late
    at: str  # event time
    source: tuple[int, ...]  # ordinals of the segments it comes from
    into: str | None  # id of the survivor of a merge
    downgrade: bool = False  # the profile lets a final result become less than final
    was: str | None = None  # id that its number before this one gave it: what is known under either is one thing
