"""Lines of a report that are withdrawn by name, by status or by being left out (hl7v2.md §9, corrections)."""

from mappings.convert import Mapped
from mappings.merge import settle
from tests.mappings.hl7v2.messages import Json, mapped, obr, obx, oru

FIRST, SECOND, THIRD = "20250304090000+0100", "20250304100000+0100", "20250304110000+0100"


def report(*segments: str, at: str = FIRST, status: str = "F") -> Mapped:
    return mapped(oru(obr(status=status), *segments, at=at), "DiagnosticReport")


def lines(body: Json) -> list[str]:
    return [each["reference"] for each in body["result"]]


EQUAL = (obx("1"), obx("2"), obx("3"))  # one code, no sub-id: only their order tells them apart


def test_a_line_without_a_name_goes_when_a_full_report_leaves_it_out() -> None:
    stored = report(*EQUAL)
    settled = settle(stored.body, report(*EQUAL[:2], at=SECOND), {"": stored.at})
    assert settled.body is not None
    assert lines(settled.body) == lines(stored.body)[:2]
    assert [issue.code for issue in settled.issues] == ["line-withdrawn"]


def test_a_line_with_a_name_stays_until_it_is_withdrawn_aloud() -> None:
    named = (obx("1"), obx("2", code="2160-0^Creatinine^LN"))
    stored = report(*named)
    settled = settle(stored.body, report(named[0], at=SECOND), {"": stored.at})
    assert settled.body is not None
    assert lines(settled.body) == lines(stored.body)
    assert settled.issues == ()
    aloud = report(named[0], obx("2", code="2160-0^Creatinine^LN", status="D"), at=THIRD)
    gone = settle(settled.body, aloud, {"": stored.at})
    assert gone.body is not None
    assert lines(gone.body) == lines(stored.body)[:1]


def test_a_report_that_leaves_out_a_named_line_is_not_full() -> None:
    """A correction of one line alone withdraws nothing."""
    stored = report(*EQUAL, obx("4", code="2160-0^Creatinine^LN"))
    settled = settle(stored.body, report(*EQUAL[:2], at=SECOND), {"": stored.at})
    assert settled.body is not None
    assert set(lines(settled.body)) == set(lines(stored.body))


def test_a_preliminary_or_empty_report_withdraws_nothing() -> None:
    stored = report(*EQUAL, status="P")
    for later in (report(*EQUAL[:2], at=SECOND, status="P"), report(at=SECOND)):
        settled = settle(stored.body, later, {"": stored.at})
        assert settled.body is not None
        assert set(lines(settled.body)) == set(lines(stored.body))
        assert settled.issues == ()


def test_the_mark_of_a_line_does_not_outlive_its_place() -> None:
    """Sent again, the third line is the third line: nothing is withdrawn, nothing doubled."""
    stored = report(*EQUAL)
    settled = settle(stored.body, report(*EQUAL, at=SECOND), {"": stored.at})
    assert settled.body is not None
    assert settled.body["result"] == stored.body["result"]
