"""The pieces of a type's quick test: yes, or "look closer".

A resource that fits is the usual one, so `validate.py` asks first whether all is well, and looks for what is wrong only
where it is not. A quick test may say no to what is right (a rare form: contained resources, extensions beside a list);
it never says yes to what `checks.py` finds a fault in, nor to a depth or a number beyond the limits of the bytes layer.
It builds no findings and knows no paths. Classes and plain loops, for this is compiled
(`docs/decisions/0009-compiled-hot-path.md`).

Source: as `checks.py`.
"""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Final

from msgspec import Raw

from mappings.fhir.checks import Members
from mappings.fhir.codec import RESOURCE, Json, lexeme
from mappings.fhir.primitives import PRIMITIVES, Test, is_code, is_decimal, is_id, is_string, is_uri

_LARGE: Final[int] = 10 ** (RESOURCE.max_lexeme - 1)  # of an integer, its minus aside
_LONGEST_SYSTEM, _SYSTEMS = 100, 4096  # of a URI worth remembering, and how many: a feed names the same few systems


class Fit:
    """The quick test of one member, or of the whole. This one is for what is rare: look closer."""

    def holds(self, value: Any, left: int) -> bool:
        """Whether the value is right beyond doubt, and no deeper than the levels that are left."""
        return False


class Always(Fit):
    """For what was judged before."""

    def holds(self, value: Any, left: int) -> bool:
        return True


class Whole(Fit):
    """An object: every member known and right, none missing, of each choice at most one."""

    def __init__(self, members: Members, *, is_element: bool) -> None:
        self.of = members.fits
        self.first_names = members.first_names
        self.choices = members.choices
        self.choice_of: dict[str, int] | None = None  # each name of a choice to the bit of its choice
        self.is_element = is_element

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not dict or left <= 0:
            return False
        node: Json = value
        of = self.of
        for name, member in node.items():
            fit = of.get(name)
            if fit is None or not fit.holds(member, left - 1):
                return False
        for name in self.first_names:
            if name not in node:
                return False
        if self.choices and not self.one_of_each(node):
            return False
        return len(node) > 1 or not self.is_element or (len(node) == 1 and "id" not in node)

    def one_of_each(self, node: Json) -> bool:
        """Whether no choice stands in two of its types."""
        choice_of = self.choice_of
        if choice_of is None:  # made late: members are filled after their test
            choice_of = {name: 1 << number for number, names in enumerate(self.choices) for name in names}
            self.choice_of = choice_of
        seen = 0
        for name in node:
            number = choice_of.get(name)
            if number is not None:
                if seen & number:
                    return False
                seen |= number
        return True


class Extension(Whole):
    """ext-1: an extension has a value or extensions, not both and not neither."""

    def __init__(self, members: Members, value_names: Collection[str]) -> None:
        super().__init__(members, is_element=True)
        self.names = frozenset(prefix + name for name in value_names for prefix in ("", "_"))

    def one_of_each(self, node: Json) -> bool:
        values = 0
        for name in node:
            if name in self.names:
                values += 1
        return values == (0 if "extension" in node else 1)


class Leaf(Fit):
    """A primitive without a usual form of its own here."""

    def __init__(self, test: Test) -> None:
        self.test = test

    def holds(self, value: Any, left: int) -> bool:
        return self.test(value)


class Text(Fit):
    """A string or markdown."""

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not str:
            return False
        return (value != "" and value.isprintable() and not value.isspace()) or is_string(value)


class Token(Fit):
    """A code of no listed value set."""

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not str:
            return False
        return value.isalnum() or (value != "" and value.isprintable() and " " not in value) or is_code(value)


class Uri(Fit):
    """A URI; the systems of codes and identifiers come again and again."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not str:
            return False
        if value in self.known:
            return True
        if not is_uri(value):
            return False
        if len(value) <= _LONGEST_SYSTEM and len(self.known) < _SYSTEMS:
            self.known.add(value)
        return True


class Id(Fit):
    """A logical id."""

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not str:
            return False
        return (len(value) <= 64 and value.isascii() and value.replace("-", "").isalnum()) or is_id(value)


class Number(Fit):
    """A decimal, as long as a number may be."""

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is int:
            return -_LARGE < value < _LARGE
        if type(value) is Raw:
            text = lexeme(value)
            return is_decimal(value) and len(text) <= RESOURCE.max_lexeme and "e" not in text.lower()
        if type(value) is not Decimal or not value.is_finite() or len(str(value)) > RESOURCE.max_lexeme:
            return False
        return not value or abs(value.adjusted()) <= RESOURCE.max_exponent


class Listed(Fit):
    """A code of a value set that can be listed."""

    def __init__(self, codes: frozenset[str]) -> None:
        self.codes = codes

    def holds(self, value: Any, left: int) -> bool:
        return self.lists(value)

    def lists(self, value: Any) -> bool:
        """Whether it is one of them."""
        return type(value) is str and value in self.codes


class Many(Fit):
    """An element that may repeat."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not list or not value or left <= 0:
            return False
        items: list[Any] = value
        fit = self.fit
        for item in items:
            if not fit.holds(item, left - 1):
                return False
        return True


class Reference(Fit):
    """A Reference to one of the element's targets."""

    def __init__(self, fit: Fit, targets: Collection[str]) -> None:
        self.fit = fit
        self.starts = tuple(f"{target}/" for target in targets)

    def holds(self, value: Any, left: int) -> bool:
        if type(value) is not dict:
            return False
        node: Json = value
        target = node.get("reference")
        if target is not None and not (type(target) is str and target.startswith(self.starts)):
            return False
        if target is not None and len(node) == 1 and left > 0:  # as most are: no other member
            return is_uri(target)
        return "type" not in node and self.fit.holds(node, left)


class BoundConcept(Fit):
    """A CodeableConcept with a required binding: one coding must be in the set."""

    def __init__(self, fit: Fit, in_valueset: Callable[[Json], bool]) -> None:
        self.fit = fit
        self.in_valueset = in_valueset

    def holds(self, value: Any, left: int) -> bool:
        return self.fit.holds(value, left) and any(self.in_valueset(coding) for coding in value.get("coding", ()))


class Without(Fit):
    """An object that may not have one of its type's members here."""

    def __init__(self, fit: Fit, name: str) -> None:
        self.fit = fit
        self.name = name

    def holds(self, value: Any, left: int) -> bool:
        return self.fit.holds(value, left) and self.name not in value


_LEAVES: Final[dict[Test, Fit]] = {
    is_string: Text(),
    is_code: Token(),
    is_uri: Uri(),
    is_id: Id(),
    is_decimal: Number(),
}
PLAIN: Final[dict[str, Fit]] = {kind: _LEAVES.get(test) or Leaf(test) for kind, test in PRIMITIVES.items()}
