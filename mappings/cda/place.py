"""Where in a document a value stands: the path of its element, and the line it begins in.

Steps below the document are sections by their LOINC code, entries by their number, then elements by name. Repeated
names are counted from 1.
"""

import re
from dataclasses import dataclass
from typing import Final

_ORDINAL: Final = re.compile(r"\[[0-9]+\]")  # `entry[2]`; the code of a section is no ordinal, for it holds a hyphen


@dataclass(frozen=True, slots=True, order=True)
class XmlPlace:
    """`section[48765-2]/entry[2]/act line 418`; an attribute ends the path: `code/@nullFlavor`."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path} line {self.line}" if self.line else self.path

    @property
    def kind(self) -> str:
        """The path without ordinals, what fingerprints and counts group by."""
        return _ORDINAL.sub("", self.path)
