"""Python text in the making: lines with their indentation, and the names that stand for a message's fields.

What a function's head must define (padded fields, segments from elsewhere, texts worked out once) is known when its
body is written; `MapNames` keeps it until then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mappings.rows.table import FieldRef


def python_name(name: str) -> str:
    """The name of a map's function, or of what a row names: `PID_Patient`."""
    return name.replace(".", "_").replace("-", "_")


@dataclass(slots=True)
class Writer:
    """Lines of Python with their indentation."""

    lines: list[str] = field(default_factory=list)
    depth: int = 1

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


class MapNames:
    """The Python expressions for fields inside one map's function; keeps what its head must define."""

    def __init__(self, segment: str) -> None:
        self.segment = segment
        self.width = 0
        self.foreign: dict[str, int] = {}
        self.texts: dict[str, str] = {}  # name → expression of what the head works out once

    def whole(self, ref: FieldRef) -> str:
        """The whole field, all repetitions."""
        if ref.segment == self.segment:
            self.width = max(self.width, ref.field)
            return f"f[{ref.field}]"
        self.foreign[ref.segment] = max(self.foreign.get(ref.segment, 0), ref.field)
        return f"f_{ref.segment}[{ref.field}]"

    def holder(self, ref: FieldRef) -> str:
        """The segment that holds the field."""
        return "seg" if ref.segment == self.segment else f"s_{ref.segment}"

    def valued(self, ref: FieldRef) -> str:
        return f"{self._raw(ref)} not in NIL"

    def null(self, ref: FieldRef) -> str:
        return f"{self._raw(ref)} == NULL"

    def word(self, name: str) -> str:
        return f"ctx.{name}"

    def flag(self, name: str) -> str:
        raise ValueError(f"condition: no flag {name}")

    def _raw(self, ref: FieldRef) -> str:
        if ref.comp or (ref.rep or 0) > 1:
            return f"part({self.whole(ref)}, rep, comp, {ref.rep or 1}, {ref.comp or 0})"
        return self.whole(ref)

    def text(self, ref: FieldRef) -> str:
        if ref.comp or (ref.rep or 0) > 1:
            return f"part({self.whole(ref)}, rep, comp, {ref.rep or 1}, {ref.comp or 1})"
        whole = self.whole(ref)
        name = "t_" + "".join(char if char.isalnum() else "_" for char in whole).strip("_")
        self.texts[name] = f"{whole} if {whole}.isalnum() else text({whole}, rep, comp)"
        return name

    def count(self, ref: FieldRef) -> str:
        whole = self.whole(ref)
        name = "n_" + "".join(char if char.isalnum() else "_" for char in whole).strip("_")
        self.texts[name] = f"count({whole}, rep)"
        return name
