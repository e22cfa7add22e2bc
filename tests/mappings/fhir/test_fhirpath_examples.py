"""FHIRPath and search over what HL7 publishes with R4: answers are fhirpathpy's, and every parameter is seen by both
our readers.

Marker `node`: the package of examples is fetched with npm (`r4_package.py`). Large files are definitions, and left out.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from mappings.fhir.codec import Json, decode
from mappings.fhir.fhirpath import compile
from mappings.fhir.schema import schema
from mappings.fhir.search import extract
from tests.mappings.fhir import oracle, r4_package
from tests.mappings.fhir.test_search_extract import naive, plain

pytestmark = pytest.mark.node

LARGEST = 20_000  # bytes
OF_EACH_TYPE = 8


def resources() -> Iterator[tuple[str, Json]]:
    """Up to OF_EACH_TYPE examples of every type."""
    seen: Counter[str] = Counter()
    for name, data in sorted(r4_package.examples().items()):
        resource = decode(data) if len(data) <= LARGEST else {}
        type_ = resource.get("resourceType", "")
        if type_ in schema().resource_types and seen[type_] < OF_EACH_TYPE:
            seen[type_] += 1
            yield name, resource


def test_search_expressions_and_constraints_agree_with_the_oracle() -> None:
    asked, answered = 0, set()
    for name, resource in resources():
        type_ = resource["resourceType"]
        texts = [param.expression for param in schema().params(type_).values()]
        for expression in (*texts, *(constraint.expression for constraint in schema().types[type_].constraints)):
            question = expression and oracle.translated(expression, type_)
            if expression and question:
                answer = oracle.canonical(compile(expression)(resource))
                assert answer == oracle.ask(question, resource), (name, expression)
                asked += 1
                answered |= {(type_, expression)} if answer else set()
    assert asked > 10_000
    assert len(answered) > 700


def test_the_tree_finds_in_every_example_what_each_expression_finds_by_itself() -> None:
    seen = set()
    for name, resource in resources():
        type_ = resource["resourceType"]
        found = extract(type_, resource)
        for code, param in schema().params(type_).items():
            if param.expression is not None and param.type not in ("composite", "special"):
                assert plain(found.get(code, ())) == naive(resource, code), (name, code)
        seen |= {(type_, code) for code in found}
    assert len(seen) > 700
