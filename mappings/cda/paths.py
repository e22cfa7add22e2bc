"""Paths from a statement to the elements and attributes that rows read: their grammar, and the Python they become.

    path       = [("^section" | "^act" | "^header" | "^statement") "/"] step *("/" step)
    step       = name [predicate] | "." | ".." | "@" attribute
    name       = "value" | "sdtc:raceCode" | "pharm:asContent"          bare names are urn:hl7-org:v3
    predicate  = "[" test *(" and " test) "]"
    test       = subject [("=" | "!=") "'" value *("|" value) "'"]      subject alone: it is there
    subject    = "@" attribute | "tid" | "part" | relative path of names, which stands for its code

`@xsi:type` is compared without its prefix; `part` is what an observation says of the statement around it
(`parts.py`). `a|b` are alternatives, the first that gives a value counts;
`effectiveTime[*]` hands all elements to one function. A path becomes one loop a step over the children of that name.
Which statements a path has gone through to something is told to the context: a statement inside another that no row
has read is mapped by itself.

Source: CDA R2, the R-MIM's class and relationship names.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mappings.cda.document import XSI_TYPE, type_of
from mappings.cda.element import Element
from mappings.cda.parts import part_of
from mappings.rows.condition import Grammar
from mappings.rows.python import Writer

Reader = Callable[[Any, Any], list[Any]]

# clinical statements: what an entry, a relationship or a component may hold
STATEMENTS: Final = frozenset({
    "act", "encounter", "observation", "observationMedia", "organizer", "procedure", "regionOfInterest",
    "substanceAdministration", "supply",
})  # fmt: skip

_STARTS: Final = {
    "^section": "ctx.section",
    "^act": "ctx.act",
    "^header": "ctx.doc.root",
    "^statement": "ctx.statement",
}
_NAME: Final = r"(?:(?:sdtc|pharm):)?[A-Za-z][A-Za-z0-9]*"
_STEP: Final = re.compile(rf"({_NAME}|\*)(?:\[(.*)\])?\Z")
_ATTRIBUTE: Final = re.compile(r"@((?:[a-z]+:)?[A-Za-z]+)\Z")
_TEST: Final = re.compile(rf"(@[A-Za-z:]+|{_NAME}(?:/{_NAME})*(?:/@[A-Za-z]+)?)(?:(!?=)'([^']*)')?\Z")
_REMEMBERED: Final = 4_096
DENIALS: Final = frozenset({"true", "1"})


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a predicate: `@typeCode='CSM'`, `code='33999-4'`, `tid='…'`; no operator: the subject is there."""

    subject: str
    op: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step: a child by its short tag, `.`, `..`, or `@attribute`."""

    name: str
    tests: tuple[Test, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRef:
    """A path that a row or a condition reads."""

    text: str
    start: str
    steps: tuple[PathStep, ...]
    all: bool = False  # every element at once, to one function

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=_REMEMBERED)
def parse_paths(text: str) -> tuple[PathRef, ...]:
    """The alternatives of a source; raises ValueError."""
    return tuple(_path(part.strip()) for part in _split(text, "|")) if text else ()


def _split(text: str, mark: str) -> list[str]:
    """Splits outside of brackets: values of a predicate hold `|`, its paths `/`."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == mark and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _path(text: str) -> PathRef:
    names = _split(text, "/")
    start = "st"
    if names[0].startswith("^"):
        if names[0] not in _STARTS:
            raise ValueError(f"path begins with an unknown context: {names[0]}")
        start = _STARTS[names.pop(0)]
    every = bool(names) and names[-1].endswith("[*]")
    if every:
        names[-1] = names[-1].removesuffix("[*]")
    steps = tuple(_step(name, text) for name in names)
    if not steps or any(step.name.startswith("@") for step in steps[:-1]):
        raise ValueError(f"path is not understood: {text}")
    return PathRef(text, start, steps, every)


def _step(text: str, path: str) -> PathStep:
    if text in (".", ".."):
        return PathStep(text)
    if (match := _ATTRIBUTE.match(text)) is not None:
        return PathStep("@" + match[1])
    if (match := _STEP.match(text)) is None:
        raise ValueError(f"path is not understood: {path}")
    tests = tuple(_test(part.strip(), path) for part in match[2].split(" and ")) if match[2] is not None else ()
    return PathStep(match[1], tests)


def _test(text: str, path: str) -> Test:
    if (match := _TEST.match(text)) is None:
        raise ValueError(f"predicate is not understood: [{text}] in {path}")
    if match[2] is not None and not match[3]:
        raise ValueError(f"predicate compares with nothing: [{text}] in {path}")
    return Test(match[1], match[2] or "", tuple(match[3].split("|")) if match[3] else ())


def path_grammar(words: frozenset[str], flags: frozenset[str]) -> Grammar:
    """The grammar of conditions over paths."""
    return Grammar(parse_paths, words, flags)


# compiled -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_REMEMBERED)
def reader(ref: PathRef) -> Reader:
    """`f(statement, ctx)`: the elements, or texts of the attribute, that the path leads to, in document order."""
    names: dict[str, Any] = {
        "code_of": code_of,
        "denied": denied,
        "has_template": has_template,
        "part_of": part_of,
        "there": there,
        "relative": relative,
        "type_of": type_of,
    }
    exec(compile(_source(ref), f"<path {ref}>", "exec"), names)  # noqa: S102 - emitted from parsed steps
    found: Reader = names["read"]
    return found


def _source(ref: PathRef) -> str:
    out = Writer()
    out.put("found = []")
    out.put(f"n0 = {ref.start}")
    if ref.start != "st":
        out.put("if n0 is None: return found")
    through: list[str] = []
    for depth, step in enumerate(ref.steps, 1):
        before, here = f"n{depth - 1}", f"n{depth}"
        if step.name == ".":
            out.put(f"{here} = {before}")
        elif step.name == "..":
            out.put(f"{here} = {before}.parent")
            out.put(f"if {here} is not None:")
            out.depth += 1
        elif step.name.startswith("@"):
            name = XSI_TYPE if step.name == "@xsi:type" else step.name[1:]
            out.put(f"if ({here} := {before}.get({name!r})) is not None and ({here} := {here}.strip()):")
            out.depth += 1
        else:
            each = f"{before}" if step.name == "*" else f"{before}.named({step.name!r})"
            out.put(f"for {here} in {each}:")
            out.depth += 1
            if step.tests:
                out.put("if " + " and ".join(_python(test, here) for test in step.tests) + ":")
                out.depth += 1
            if step.name in STATEMENTS:
                if not any(test.subject == "@negationInd" for test in step.tests):  # what is denied is nobody's part
                    out.put(f"if denied({here}): continue")
                through.append(here)
    out.put(f"found.append(n{len(ref.steps)})")
    for name in through:
        out.put(f"ctx.read.add({name})")
    return "\n".join(["def read(st, ctx):", *out.lines, "    return found", ""])


def _python(test: Test, node: str) -> str:
    values = test.values
    if test.subject == "tid":
        return f"{'not ' if test.op == '!=' else ''}has_template({node}, {values!r})"
    if test.subject == "part":
        return f"part_of({node}) {'not in' if test.op == '!=' else 'in'} {values!r}"
    if test.subject.startswith("@"):
        value = f"type_of({node})" if test.subject == "@xsi:type" else f"{node}.get({test.subject[1:]!r})"
        if not test.op:
            return f"{value} is not None"
        return f"{value} {'not in' if test.op == '!=' else 'in'} {values!r}"
    path = tuple(test.subject.split("/"))
    if not test.op:
        return f"there({node}, {path!r})"
    return f"{'not ' if test.op == '!=' else ''}relative({node}, {path!r}, {values!r})"


def denied(node: Element) -> bool:
    """Whether a statement, or the relationship it stands in, says that it is not so. XML Schema writes true or 1."""
    if (said := node.get("negationInd")) is not None and said.strip().casefold() in DENIALS:
        return True
    above = node.parent
    return above is not None and (above.get("negationInd") or "").strip().casefold() in DENIALS


def has_template(node: Element, roots: tuple[str, ...]) -> bool:
    """Whether the element claims one of these templates, in any version."""
    for each in node.named("templateId"):
        if each.attrib.get("root") in roots:
            return True
    return False


def there(node: Element, path: tuple[str, ...]) -> bool:
    """Whether the path leads to anything."""
    return bool(_down(node, path))


def relative(node: Element, path: tuple[str, ...], values: tuple[str, ...]) -> bool:
    """Whether the path leads to an element of one of these codes."""
    return any(code_of(found) in values for found in _down(node, path))


def _down(node: Element, path: tuple[str, ...]) -> list[Any]:
    here: list[Any] = [node]
    for name in path:
        if name.startswith("@"):
            here = [value for each in here if (value := each.get(name[1:])) is not None]
        else:
            here = [child for each in here for child in each.named(name)]
    return here


def code_of(found: Any) -> str:
    """What an element is compared by: its code, else its value, else its text; an attribute is its text."""
    if isinstance(found, Element):
        text = found.attrib.get("code") or found.attrib.get("value") or found.text
        return text.strip() if text else ""
    return str(found)


def is_valued(found: Any) -> bool:
    """Whether an element says anything besides a null flavour and its type; a text does."""
    if not isinstance(found, Element):
        return bool(found)
    if found.children or (found.text and found.text.strip()):
        return True
    for name, value in found.attrib.items():
        if name != "nullFlavor" and name != XSI_TYPE and value.strip():
            return True
    return False


def same(one: Element, other: Element) -> bool:
    """Whether two elements say the same, to the letter but for blanks around."""
    return (
        one.attrib == other.attrib
        and (one.text or "").strip() == (other.text or "").strip()
        and len(one) == len(other)
        and all(map(same, one, other))
    )


def first_code(found: Collection[Any]) -> str:
    """The code of the first that has one, "" where none has."""
    for each in found:
        if code := code_of(each):
            return code
    return ""


def any_valued(found: Collection[Any]) -> bool:
    for each in found:
        if is_valued(each):
            return True
    return False


def all_null(found: Collection[Any]) -> bool:
    """Whether something stands there, and none of it says anything but a null flavour."""
    return bool(found) and not any(is_valued(each) for each in found)
