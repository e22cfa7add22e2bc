"""How the rows of one format are written, and what Python they become: what `compiler.py` asks of HL7 v2 and of CDA."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mappings.rows.condition import Grammar
from mappings.rows.emit import Emitter, Fact


class MakeEmitter(Protocol):
    """What emits the function of one map."""

    def __call__(self, name: str, facts: tuple[Fact, ...], *, trace: bool, ignore_null: bool) -> Emitter: ...


@dataclass(frozen=True, slots=True)
class Language:
    """One format's rows."""

    ids: re.Pattern[str]  # of rows: `map:rest`
    grammar: Grammar  # of sources and conditions
    emitter: MakeEmitter
    resource_type: Callable[[str], str]  # of a map: what its rows write into
    names: Mapping[str, Any]  # what the emitted Python calls besides datatype functions
