"""schemathesis reads the OpenAPI document and asks a real server whatever it comes up with: nothing ends in a 5xx.

A short run for every change; `make schemathesis` looks longer. The limit of refusals is lifted, for a tool that is told
to wait gets no further. Source: fhir chapter §11, §13.
"""

import os
from pathlib import Path

import pytest

from adapter.access import refusals
from tests.adapter.api.conftest import Node, observation, patient
from tests.adapter.clients import environments
from tests.adapter.clients.serving import Recorder, run, serving

pytestmark = pytest.mark.clients

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "6")
SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "20")
START_S = 60  # for what is under way when the time is over, too
FEWEST = 200  # requests: below, the tool understood nothing


async def test_nothing_that_schemathesis_sends_ends_in_a_5xx(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = environments.python("schemathesis", environments.SCHEMATHESIS)
    monkeypatch.setattr(refusals, "MAX_DISTINCT", 1_000_000)
    monkeypatch.setattr(refusals, "MAX_FOLDS", 1_000_000)
    await node.put(patient(), observation("o1"))
    recorder = Recorder(node.app)
    async with serving(recorder, node.settings.http.port) as url:
        await run(
            str(programs / "schemathesis"),
            "run",
            f"{url}/openapi.json",
            *("--url", url, "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", EXAMPLES, "--max-time", SECONDS, "--seed", "1", "--no-color"),
            *("--generation-database", "none"),
            *("--header", f"Authorization:Bearer {node.token(life_s=3600)}"),
            folder=tmp_path,
            seconds=float(SECONDS) + START_S,
        )
    broken = [f"{one.status} {one.method} {one.target[:120]}" for one in recorder.exchanges if one.status >= 500]
    assert broken == []
    assert len(recorder.exchanges) > FEWEST
    assert {one.status for one in recorder.exchanges} >= {200, 400, 404}
