"""docs/outbound.md, tried as a new user would: every command of the page runs, and says what the page says.

`CHARTBRIDGE_GOLDEN=write` puts what was seen into the page, to be read. The time of a message is compared by its shape.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import golden
from tests.test_first_feed import BLOCK, shape, try_block

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "outbound.md"
NOW = re.compile(r"^(MSH(?:\|[^|]*){5}\||EVN\|[^|]*\|)\d{14}[+-]\d{4}", re.MULTILINE)


@pytest.mark.skipif(shutil.which("iconv") is None, reason="no iconv here, which the page uses")
def test_the_page_can_be_followed_word_for_word(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    page = PAGE.read_text("utf-8")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    seen = BLOCK.sub(lambda block: f"```console\n{try_block(block[1], tmp_path, env)}```", page)
    if golden.WRITE:
        PAGE.write_text(seen, "utf-8")
        return
    assert shape(NOW.sub(r"\1NOW", seen)) == shape(NOW.sub(r"\1NOW", page))
