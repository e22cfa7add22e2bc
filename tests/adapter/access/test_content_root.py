"""The root over content lines is RFC 6962's, leaves hashed: the published worked example (ledger chapter §4)."""

from hashlib import sha256

from adapter.access.audit import content_root, line


def test_the_worked_example_is_recomputed() -> None:
    lines = [line("r", "Patient", "5b2e", 3, b"[]"), line("r", "Observation", "9c1a", 1, b"{}")]
    assert content_root(lines) == "769ce3a74102fa70e3527684de221825488a0498307cb352ac397a92bb1af835"


def test_a_single_line_is_not_the_line_itself() -> None:
    one = line("c", "Patient", "5b2e", 1, b"{}")
    assert content_root([one]) == sha256(b"\0" + one.encode()).hexdigest()
