"""Files to Bundles: the name of each result, and that a bad file costs only itself (operations chapter §1)."""

import json
from pathlib import Path

import pytest

from adapter.convert_files import convert_file, plan
from adapter.errors import UsageError
from mappings.convert import load_profile
from tests.adapter.nodes import a08

PROFILE = load_profile("default")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in" / "ward").mkdir(parents=True)
    for name in ("a.hl7", "ward/b.hl7"):
        (tmp_path / "in" / name).write_bytes(a08("1", "11"))
    return tmp_path / "in"


def test_a_folders_files_keep_their_path_and_a_file_its_name(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan([inbox], out) == [
        (inbox / "a.hl7", out / "a.hl7.json"),
        (inbox / "ward" / "b.hl7", out / "ward" / "b.hl7.json"),
    ]
    assert plan([inbox / "ward" / "b.hl7"], out) == [(inbox / "ward" / "b.hl7", out / "b.hl7.json")]


def test_two_inputs_for_one_target_are_refused_before_anything_is_written(inbox: Path, tmp_path: Path) -> None:
    (inbox / "ward" / "a.hl7").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        plan([inbox / "a.hl7", inbox / "ward" / "a.hl7"], tmp_path / "out")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_nothing_to_convert_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for argument in ("empty", "absent"):
        with pytest.raises(UsageError):
            plan([tmp_path / argument], tmp_path / "out")


def test_results_of_an_earlier_run_are_no_input(inbox: Path) -> None:
    out = inbox / "out"
    pairs = plan([inbox], out)
    for source, target in pairs:
        assert not convert_file(source, target, PROFILE, "collection").failure
    assert plan([inbox], out) == pairs


def test_a_bundle_is_written_whole_with_nothing_beside_it(inbox: Path, tmp_path: Path) -> None:
    done = convert_file(inbox / "a.hl7", tmp_path / "out" / "a.hl7.json", PROFILE, "transaction")
    bundle = json.loads(done.target.read_bytes())
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
    assert len(bundle["entry"]) == done.resources > 0
    assert [path.name for path in done.target.parent.iterdir()] == ["a.hl7.json"]


def test_a_file_that_is_no_message_and_a_target_that_cannot_be_are_results(inbox: Path, tmp_path: Path) -> None:
    (inbox / "bad.hl7").write_bytes(b"hello Nr11")
    bad = convert_file(inbox / "bad.hl7", tmp_path / "bad.json", PROFILE, "collection")
    assert bad.failure
    assert "Nr11" not in bad.failure
    assert not bad.target.exists()
    (tmp_path / "file").touch()
    assert convert_file(inbox / "a.hl7", tmp_path / "file" / "a.json", PROFILE, "collection").failure
    assert convert_file(inbox / "absent.hl7", tmp_path / "absent.json", PROFILE, "collection").failure
