"""The hot path compiled to C makes what Python makes (docs/decisions/0009-compiled-hot-path.md)."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import native

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(native.compiler() is None, reason="no C compiler, or no headers of Python"),
]


def output(packages: Path, *command: str) -> list[str]:
    """What a module of ours prints where these packages come first."""
    paths = os.pathsep.join([str(packages), str(ROOT)])
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", *command],
        cwd=packages,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def compiled() -> Path:
    return native.quick()


def test_what_is_compiled_makes_what_python_makes(compiled: Path) -> None:
    (is_compiled, *made), (is_python, *expected) = (output(each, "tests.compiled_output") for each in (compiled, ROOT))
    assert (is_compiled, is_python) == ("compiled True", "compiled False")
    assert len(made) > 1_000
    assert [line for line, other in zip(made, expected, strict=True) if line != other] == []


def test_what_is_compiled_passes_the_tests_of_its_parts(compiled: Path, tmp_path: Path) -> None:
    """Datatypes, reader, validation, documents, the log, who may see what: with values that no message brings."""
    parts = (
        *("mappings/hl7v2/datatypes", "mappings/hl7v2/test_message.py", "ledger"),
        *("mappings/fhir/test_fits.py", "mappings/fhir/test_xml.py"),
        *("mappings/cda", "mappings/test_bundle.py"),
        *("adapter/access", "adapter/api/test_conditions.py", "adapter/api/test_content.py", "adapter/test_entropy.py"),
        *(
            f"adapter/inbound/test_{name}.py"
            for name in ("ack", "batch", "documents", "folder", "http", "intake", "mllp")
        ),
        *(f"adapter/inbound/test_{name}.py" for name in ("journal", "journal_file", "journal_postgres")),
        *("adapter/seal/test_blind.py", "adapter/seal/test_envelope.py", "adapter/store/test_record.py"),
        *(f"adapter/test_{name}.py" for name in ("child", "pipeline", "replies", "wire")),
    )
    slow = [ROOT / "tests/mappings/cda" / name for name in ("out", "test_metamorphic.py")]
    replacing = (  # a function or a method by another, which nothing can where they are compiled
        "mappings/cda/test_time.py::test_nothing_is_searched_before_it_is_asked_and_nothing_twice",
        "adapter/inbound/test_folder.py::test_a_fault_of_ours_costs_one_file_and_is_told_without_its_content",
        "adapter/inbound/test_journal_file.py::test_a_failed_fsync_ends_all_acceptance",
        "adapter/inbound/test_journal_file.py::test_a_fault_of_ours_is_ae_and_the_journal_goes_on",
    )
    _pass(compiled, tmp_path, parts, replacing, *(f"--ignore={path}" for path in slow))


def test_what_is_compiled_serves_on_the_loop_of_a_service(compiled: Path, tmp_path: Path) -> None:
    """Its transports and servers are none of asyncio's classes, and compiled code would ask."""
    pytest.importorskip("uvloop", reason="no uvloop for this platform")
    listener = "adapter/inbound/test_listener.py"
    replacing = (
        f"{listener}::test_an_answer_that_cannot_be_made_does_not_stop_its_connection",
        f"{listener}::test_what_takes_long_to_read_is_read_beside_the_loop",
        f"{listener}::test_a_fault_of_ours_costs_one_message_and_its_sender_hears_so",
    )
    _pass(compiled, tmp_path, (listener, "adapter/inbound/test_tls.py"), replacing, "-p", "tests.on_uvloop")


def _pass(compiled: Path, folder: Path, parts: Sequence[str], but: Sequence[str], *options: str) -> None:
    output(
        compiled,
        "pytest",
        *("-p", "no:cacheprovider", "-p", "tests.compiled_only", "--import-mode=append"),
        *(f"--rootdir={ROOT}", f"--basetemp={folder}/inner"),
        *options,
        *(f"--deselect=tests/{test}" for test in but),
        *(str(ROOT / "tests" / part) for part in parts),
    )
