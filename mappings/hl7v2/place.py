"""Where in a message a value stands.

A place names segment, occurrence, field, repetition, component and subcomponent, all counted from 1 as the standard
counts them; 0 means "the whole of it". Turning a place into bytes is `message.byte_range`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """`Place("PID", 1, 3, rep=2, comp=4)` prints `PID-3[2].4`; the second OBX's value prints `OBX[2]-5`.

    The first segment of a name and the first repetition of a field print without a number: people write `PID-3`.
    """

    segment: str
    nth: int = 1
    field: int = 0
    rep: int = 0
    comp: int = 0
    sub: int = 0

    def __str__(self) -> str:
        text = f"{self.segment}[{self.nth}]" if self.nth > 1 else self.segment
        if not self.field:
            return text
        text += f"-{self.field}[{self.rep}]" if self.rep > 1 else f"-{self.field}"
        if not self.comp:
            return text
        return f"{text}.{self.comp}.{self.sub}" if self.sub else f"{text}.{self.comp}"

    @property
    def kind(self) -> str:
        """The place without ordinals (`OBX-5.1`), what fingerprints and counts group by."""
        return str(Place(self.segment, 1, self.field, 0, self.comp, self.sub))
