"""One file makes the XML parsers of this project, so that no other can forget an option. What hostile documents meet is
tested where each kind is read: `cda/test_hostile_xml.py`, `fhir/test_xml.py`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARSER_OF_OURS = "mappings/xml_parser.py"
# its parser must see instructions in order to refuse them; it takes no DOCTYPE, and reads narratives of a few kilobytes
PARSER_OF_NARRATIVES = "mappings/fhir/narrative.py"
OTHER_PARSERS = {"xml", "lxml.html", "lxml.objectify", "lxml.sax", "lxml.isoschematron", "defusedxml", "html5lib"}
MAKES = {"XMLParser", "HTMLParser", "XMLPullParser", "HTMLPullParser", "ETCompatXMLParser", "iterparse", "XMLDTDID"}
NEVER = {"XSLT", "XInclude", "DTD", "RelaxNG", "XMLSchema", "Schematron", "set_default_parser", "xinclude"}
READS = {"fromstring": 2, "fromstringlist": 2, "parse": 2, "XML": 2, "HTML": 2, "XMLID": 2}


def faults(source: str) -> set[str]:
    """What in a module reads XML otherwise than with a parser that it was given."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if _is_other(name.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names} | {node.module}
            found |= {name for name in names if _is_other(name)}
            found |= {name.name for name in node.names if node.module == "lxml.etree" and name.name in MAKES | NEVER}
        elif isinstance(node, ast.Attribute) and _is_etree(node.value) and node.attr in MAKES | NEVER:
            found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_etree(node.func.value):
            given_one = len(node.args) >= READS.get(node.func.attr, 0) or any(k.arg == "parser" for k in node.keywords)
            if node.func.attr in READS and not given_one:
                found.add(node.func.attr)
    return found


def _is_etree(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "etree"


def _is_other(module: str) -> bool:
    return any(module == each or module.startswith(each + ".") for each in OTHER_PARSERS)


@pytest.mark.parametrize("package", ["adapter", "ledger", "mappings"])
def test_no_other_file_makes_a_parser(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {fault}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in (PARSER_OF_OURS, PARSER_OF_NARRATIVES)
        for fault in faults(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "import xml.etree.ElementTree",
        "from xml import sax",
        "from lxml import html",
        "from lxml.etree import XMLParser",
        "etree.XMLParser()",
        "etree.fromstring(data)",
        "etree.parse(file)",
        "etree.iterparse(file)",
        "etree.XSLT(style)",
    ],
)
def test_the_lint_sees_a_parser(line: str) -> None:
    assert faults(line)


@pytest.mark.parametrize("line", ["from lxml import etree", "etree.fromstring(data, parser())", "etree.XPath('x')"])
def test_the_lint_lets_the_rest_be(line: str) -> None:
    assert not faults(line)
