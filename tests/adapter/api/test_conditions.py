"""ETags and conditional reads. RFC 9110 §8.8, §13.1; FHIR R4 §3.1.0.5; fhir chapter §12 (what clients send)."""

import pytest

from adapter.access.disclose import Disclosed
from adapter.api.conditions import is_unmodified, tags, version_headers

AT_MS = 1_772_615_712_417  # 2026-03-04T09:15:12.417Z
ITEM = Disclosed("Observation", "o1", 3, AT_MS, "u", 1, 1, b"{}")


def test_a_version_is_its_etag_and_its_date() -> None:
    assert version_headers(ITEM) == ((b"etag", b'W/"3"'), (b"last-modified", b"Wed, 04 Mar 2026 09:15:12 GMT"))


@pytest.mark.parametrize(
    ("none_match", "modified_since", "expected"),
    [
        ('W/"3"', None, True),
        ('"3"', None, True),
        ("3", None, True),
        ("*", None, True),
        ('W/"1", W/"3"', None, True),
        ('W/"2"', None, False),
        ("", None, False),
        ("x" * 5000, None, False),
        (None, "Wed, 04 Mar 2026 09:15:12 GMT", True),
        (None, "Wed, 04 Mar 2026 09:15:11 GMT", False),
        (None, "yesterday", False),
        (None, "20260304T091512Z", False),
        (None, "Wed, 04 Mar 99999999999999999999 09:15:12 GMT", False),
        (None, "Wed, 04 Mar 2026 09:15:12 +99999999999999", False),
        (None, "", False),
        (None, None, False),
        ('W/"2"', "Thu, 05 Mar 2026 00:00:00 GMT", False),
        ('W/"3"', "Tue, 03 Mar 2026 00:00:00 GMT", True),
    ],
)
def test_a_condition_is_read_as_clients_write_it(
    none_match: str | None, modified_since: str | None, expected: bool
) -> None:
    assert is_unmodified(ITEM, none_match, modified_since) is expected


def test_several_tags_are_all_read() -> None:
    assert tags('W/"1", "2",3') == {"1", "2", "3"}
