"""Messages that other people published: none crashes, every resource fits R4, by our judge and by HL7's own.

Found through CHARTBRIDGE_CORPUS; data only, nothing of it is copied here.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mappings.convert import patient_keys, to_fhir
from mappings.fhir.codec import encode
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import BROKEN, ROOT, SAMPLES, default
from tests.mappings.hl7v2.test_samples import assert_nothing_dropped

CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "hl7v2/messages"
VALIDATOR = Path(os.environ.get("CHARTBRIDGE_TOOLS", ROOT.parent / "shared/tools")) / "validate"
MESSAGES = sorted(CORPUS.glob("*.hl7"))

needs_corpus = pytest.mark.skipif(not MESSAGES, reason="no corpus: set CHARTBRIDGE_CORPUS")


@pytest.mark.corpus
@needs_corpus
@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_every_message_converts_to_valid_resources(path: Path) -> None:
    data = path.read_bytes()
    conversion = to_fhir(data, default())
    for mapped in conversion.resources:
        assert validate(mapped.body) == ()
        assert broken(mapped.body) == ()
    assert {m.body["id"] for m in conversion.resources if m.body["resourceType"] == "Patient"} <= {
        key.id for key in patient_keys(data, default())
    }
    assert_nothing_dropped(data)


@pytest.mark.corpus
@pytest.mark.conformance
@needs_corpus
@pytest.mark.skipif(not VALIDATOR.exists() or shutil.which("java") is None, reason="no official validator here")
def test_the_official_validator_finds_no_error(tmp_path: Path) -> None:
    for path in (*MESSAGES, *(sample for sample in SAMPLES if sample.stem not in BROKEN)):
        for number, mapped in enumerate(to_fhir(path.read_bytes(), default()).resources):
            name = f"{path.stem}-{number}-{mapped.body['resourceType']}.json"
            (tmp_path / name).write_bytes(encode(mapped.body))
    done = subprocess.run([VALIDATOR, tmp_path], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if ": error:" in line][:20]
