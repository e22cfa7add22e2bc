"""ST, ED as text, BL, bare codes: HL7 v3 datatypes R1; CDA R2 §4.3.5.1; FHIR R4 string, markdown, boolean, uri, id."""

from typing import Any

import pytest

from tests.mappings.cda.contexts import NULL_FLAVORS, SAY_MORE, context, on, read, why

NARRATIVE = '<content ID="t1">Take with   food</content>'


@pytest.mark.parametrize(
    ("inside", "line", "lines"),
    [
        ("one two", "one two", "one two"),
        ("  one\n     two ", "one two", "one\ntwo"),
        ("one\n\n  two\n", "one two", "one\n\ntwo"),
        ("one<br/>two", "onetwo", "onetwo"),
        ("<b>one</b> two", "one two", "one two"),
        ("one<thumbnail>AAAA</thumbnail> two", "one two", "one two"),
        ('<reference value="#t1"/>', "Take with food", "Take with food"),
        ('Daily. <reference value="#t1"/>', "Daily. Take with food", "Daily.\nTake with food"),
        ('Take with food, daily<reference value="#t1"/>', "Take with food, daily", "Take with food, daily"),
        ("&lt;script&gt;&quot;{}&amp;", '<script>"{}&', '<script>"{}&'),
        ("\u202ex\u0085y", "\u202ex y", "\u202ex\ny"),
        ("", None, None),
        (" \n ", None, None),
    ],
)
def test_text_folds_and_markdown_keeps_its_lines(inside: str, line: str | None, lines: str | None) -> None:
    fragment = f"<text>{inside}</text>"
    assert read("ST[string]", fragment, narrative=NARRATIVE).value == line
    markdown = read("ED[markdown]", fragment, narrative=NARRATIVE).value
    assert markdown == lines or markdown == line
    assert read("ED[Annotation]", fragment, narrative=NARRATIVE).value == ({"text": markdown} if markdown else None)
    assert read("ST[CodeableConcept]", fragment, narrative=NARRATIVE).value == ({"text": line} if line else None)


def test_line_breaks_are_kept_in_markdown() -> None:
    assert read("ED[markdown]", "<text>one\n   two</text>").value == "one\ntwo"


def test_a_dangling_reference_is_told_and_the_rest_stays() -> None:
    found = read("ED[string]", '<text>Daily<reference value="#none"/></text>')
    assert found.value == "Daily"
    assert found.codes == ["dangling-reference"]


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
@pytest.mark.parametrize("name", ["ST[string]", "ED[markdown]", "BL[boolean]"])
def test_a_null_flavor_is_nothing_unless_it_says_more(name: str, flavor: str) -> None:
    expected = (None, why(SAY_MORE[flavor])) if flavor in SAY_MORE else None
    assert read(name, f'<v nullFlavor="{flavor}"/>').value == expected


def test_an_over_long_text_is_cut_between_characters() -> None:
    found = read("ST[string]", f"<v>{'ö ' * 600_000}</v>")
    assert len(found.value.encode()) <= 1024 * 1024
    assert found.codes == ["over-long"]


@pytest.mark.parametrize(
    ("written", "flag", "issues"),
    [
        ("true", True, []), ("false", False, []), ("1", True, []), ("0", False, []), (" true ", True, []),
        ("TRUE", True, []), ("", None, []), ("yes", None, ["not-a-boolean"]), ("{&quot;", None, ["not-a-boolean"]),
    ],
)  # fmt: skip
def test_a_boolean_is_true_or_false(written: str, flag: bool | None, issues: list[str]) -> None:
    found = read("BL[boolean]", f'<v value="{written}"/>')
    assert found.value is flag
    assert found.codes == issues
    if written and "&" not in written:
        assert on("BL[boolean]", written, context()).value is flag


@pytest.mark.parametrize(
    ("name", "fragment", "expected", "issues"),
    [
        ("ST[uri]", "<v>https://example.org</v>", "https://example.org", []),
        ("ST[uri]", '<v value=" tel:+1 "/>', "tel:+1", []),
        ("ST[uri]", "<v>a b:c</v>", None, ["bad-value"]),
        ("ST[uri]", "<v>abc</v>", None, ["bad-value"]),
        ("ST[uri]", "<v/>", None, []),
        ("ST[id]", "<v> a-1.B </v>", "a-1.B", []),
        ("ST[id]", "<v>a_1</v>", None, ["bad-value"]),
        ("ST[id]", f"<v>{'a' * 65}</v>", None, ["bad-value"]),
        ("ST[id]", "<v/>", None, []),
    ],
)
def test_addresses_and_ids_have_their_syntax(name: str, fragment: str, expected: Any, issues: list[str]) -> None:
    found = read(name, fragment)
    assert found.value == expected
    assert found.codes == issues


@pytest.mark.parametrize("name", ["ST[string]", "ST[markdown]", "ST[Annotation]", "ST[CodeableConcept]", "ST[uri]"])
def test_an_attribute_is_its_own_text(name: str) -> None:
    ctx = context()
    assert on(name, " ", ctx).value is None
    found = on(name, " urn:x ", ctx).value
    assert found in ("urn:x", {"text": "urn:x"})
