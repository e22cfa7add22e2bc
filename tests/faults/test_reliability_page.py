"""`docs/reliability.md` names a test for each of the ten promises, and each test named there exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")


def test_each_promise_has_a_test() -> None:
    assert re.findall(r"^\| (\d+) \|.*`tests/.*::test_", PAGE, re.MULTILINE) == [str(n) for n in range(1, 11)]


def test_each_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert named
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), test
