"""What a node's services are put together from: policies read from the log, granular scopes, the public address."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapter.services import base_url, scope_matcher
from adapter.settings import Http, Ledger, Node, Settings

MATCHER = scope_matcher("https://node.example/fhir", ZoneInfo("UTC"))
NOW = datetime(2026, 3, 4, tzinfo=UTC)
FINAL = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"coding": [{"code": "a"}]}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=final", True),
        ("status=final&code=a", True),
        ("status=final&code=b", False),
        ("shoe-size=43", False),
        ("status:below=final", False),
        ("subject.name=Ana", False),
        ("status=final&_count=1", False),
        ("date=yesterday", False),
    ],
)
def test_a_granular_scope_that_cannot_be_judged_opens_nothing(query: str, expected: bool) -> None:
    assert MATCHER("Observation", query, NOW)(FINAL) is expected


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        (Http(), "http://127.0.0.1:8080/fhir"),
        (Http(host="::1", port=9), "http://[::1]:9/fhir"),
        (Http(base="https://fhir.example/r4/"), "https://fhir.example/r4"),
        (Http(tls_cert_file=Path("a.pem"), tls_key_file=Path("b.pem")), "https://127.0.0.1:8080/fhir"),
    ],
)
def test_the_public_address_is_stated_or_follows_from_the_port(http: Http, expected: str) -> None:
    node = Node(org="o", name="O", system="urn:x", identifier="o", pairing="00" * 16)
    settings = Settings(node=node, http=http, ledger=Ledger(name="localhost/o", shard="2026"))
    assert base_url(settings) == expected
