"""The whole job on invented samples, on a real node with real sockets (the issue's item 10)."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from adapter import demo
from adapter.site import create, open_site
from ledger.export import export


@pytest.fixture(scope="module")
def told() -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        demo.console.file = out
        assert demo.run() == 0
    return out.getvalue()


@pytest.mark.parametrize(
    "part",
    [
        "keys and stores created",
        r"listening: MLLP \d+",
        "→ admission +← CA",
        "→ laboratory result +← CA",
        "→ correction of one value +← CA",
        "→ merge of the two records +← CA",
        "→ broken: no message type +← AR",
        r"→ the result, sent twice +← CA \(the first ACK again\)",
        "→ C-CDA summary +← 200",
        "→ European patient summary +← 200",
        "read by her own hospital: 1 Patient",
        r"consent granted \(log entry \d+:\d+\) → read by the other organisation",
        "the same read answers 404",
        r"checkpoint signed over (\d+) entries; \1 of \1 inclusion proofs verified",
        "one byte changed: verification failed",
    ],
)
def test_the_demo_shows_what_the_issue_lists(told: str, part: str) -> None:
    assert re.search(part, told)


def blurred(text: str) -> list[str]:
    """Without what differs from run to run: ports and entries' numbers."""
    return [
        re.sub(r"\d{4}:\d+", "ENTRY", re.sub(r"(MLLP |127\.0\.0\.1:)\d+", r"\1PORT", line)) for line in text.split("\n")
    ]


def test_the_readme_shows_what_the_demo_prints(told: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```\n(✔ keys and stores.*?)\n```", readme, re.DOTALL)
    assert blurred(block) == blurred(told.rstrip("\n"))


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("demo") / "site", org="o", name="O")


async def test_the_proofs_that_the_demo_counts_are_those_that_hold(empty_site: Path, tmp_path: Path) -> None:
    async with open_site(empty_site) as site:
        size = (await export(site.log, site.signer, tmp_path / "export")).size
        assert await demo._proven(site, tmp_path / "export", size) == size
        (entries,) = (tmp_path / "export" / "tile" / "entries").iterdir()
        (bundle,) = entries.iterdir()
        bundle.write_bytes(bundle.read_bytes().replace(b'"org":"o"', b'"org":"p"', 1))
        assert await demo._proven(site, tmp_path / "export", size) == size - 1


def test_the_demo_leaves_nothing_behind(
    told: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("demo")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(demo.console, "file", io.StringIO())
    demo.run()
    assert list(folder.iterdir()) == []
