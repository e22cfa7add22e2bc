"""Search on R4 resources: what can be found in one, what was asked, and whether the one meets the other.

    values = extract("Observation", resource)           # per parameter, for an index
    query = parse("Observation", [("code", "2160-0")])   # or SearchError
    match(query, resource, resolve, now=now, zone=zone)   # the exact judge

Pure functions over decoded, valid resources. Indexes, anchors and paging are the store's; the API serves what
`Results` asks. Read on in `search_plan.py` (extract), `search_query.py` and `search_operands.py` (parse),
`search_match.py` (match).
Source: FHIR R4 search.html, by the parameters of the compiled schema.
"""

from mappings.fhir.search_match import asked_interval, keeps_case, match, matcher, said_interval
from mappings.fhir.search_operands import SearchError
from mappings.fhir.search_plan import codes, extract
from mappings.fhir.search_query import Criterion, Has, Query, is_searchable, parse, targets
from mappings.fhir.search_results import Include, Results, Sort
from mappings.fhir.search_sort import place, sort_key, spelled
from mappings.fhir.search_text import normalise
from mappings.fhir.search_values import (
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)

__all__ = [
    "CompositeValue",
    "Criterion",
    "DateValue",
    "Has",
    "Include",
    "NumberValue",
    "QuantityValue",
    "Query",
    "ReferenceValue",
    "Results",
    "SearchError",
    "Sort",
    "StringValue",
    "TokenValue",
    "UriValue",
    "Value",
    "asked_interval",
    "codes",
    "extract",
    "is_searchable",
    "keeps_case",
    "match",
    "matcher",
    "normalise",
    "parse",
    "place",
    "said_interval",
    "sort_key",
    "spelled",
    "targets",
]
