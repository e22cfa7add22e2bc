"""Files to Bundles: the name of each result, and that a bad file costs only itself (operations chapter §1)."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapter import convert_files
from adapter.convert_files import Converted, messages_in, plan
from adapter.errors import UsageError
from mappings.bundle import Kind
from mappings.convert import Profile, load_profile
from tests.adapter.cli.command import Command
from tests.adapter.nodes import a08
from tests.mappings.cda.documents import minimal

PROFILE = load_profile("default")


def convert_file(source: Path, target: Path, profile: Profile, kind: Kind | None = None) -> Converted:
    (done,) = convert_files.convert_file(source, target, profile, kind)
    return done


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in" / "ward").mkdir(parents=True)
    for name in ("a.hl7", "ward/b.hl7"):
        (tmp_path / "in" / name).write_bytes(a08("1", "11"))
    return tmp_path / "in"


def test_a_folders_files_keep_their_path_and_a_file_its_name(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan([inbox], out).pairs == [
        (inbox / "a.hl7", out / "a.hl7.json"),
        (inbox / "ward" / "b.hl7", out / "ward" / "b.hl7.json"),
    ]
    assert plan([inbox / "ward" / "b.hl7"], out).pairs == [(inbox / "ward" / "b.hl7", out / "b.hl7.json")]


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
    pairs = plan([inbox], out).pairs
    for source, target in pairs:
        assert not convert_file(source, target, PROFILE, "collection").failure
    assert plan([inbox], out).pairs == pairs


HEAD = b"MSH|^~\\&|"
NEITHER = [
    ("LICENSE", b"Apache License\n"), ("README.md", b"# Messages\n\nMSH is a segment\n"), ("empty", b""),
    ("scan.pdf", b"%PDF-1.7\n"), ("CDA.xsl", b"<?xml version='1.0'?><!-- a --><xsl:stylesheet xmlns:xsl='x'/>"),
    ("schema.xml", "<schema>ClinicalDocument</schema>".encode("utf-16")),
    ("index.html", b"<!DOCTYPE html><html><body></body></html>"),
]  # fmt: skip
MEANT = [
    ("message", HEAD), ("noted.txt", b"received at 8:00\n" + HEAD), ("night", b"\x0bBHS|^~\\&|"),
    ("wide", "MSH|^~\\&|".encode("utf-16")), ("hello.hl7", b"hello"), ("empty.xml", b""), ("torn.xml", b"<"),
    ("torn", b"<ClinicalDocument><"), ("no-namespace", b"<ClinicalDocument/>"), ("prefixed", b"<n1:ClinicalDocument"),
    ("dtd", b"<!DOCTYPE x [<!ENTITY e SYSTEM 'f'>]><ClinicalDocument>&e;</ClinicalDocument>"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), NEITHER, ids=[name for name, _ in NEITHER])
def test_what_is_neither_message_nor_document_is_left_out_of_a_folder(
    inbox: Path, tmp_path: Path, name: str, data: bytes
) -> None:
    (inbox / name).write_bytes(data)
    found = plan([inbox, inbox / "ward"], tmp_path / "out")
    assert [source.name for source, _ in found.pairs] == ["a.hl7", "b.hl7", "b.hl7"]
    assert found.left_out == [inbox / name]
    assert plan([inbox / name], tmp_path / "out").pairs == [(inbox / name, tmp_path / "out" / f"{name}.json")], "named"


@pytest.mark.parametrize(("name", "data"), MEANT, ids=[name for name, _ in MEANT])
def test_what_is_broken_is_not_left_out(inbox: Path, tmp_path: Path, name: str, data: bytes) -> None:
    (inbox / name).write_bytes(data)
    found = plan([inbox], tmp_path / "out")
    assert inbox / name in [source for source, _ in found.pairs]
    assert found.left_out == []


def test_a_folder_of_fhir_is_its_json(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in (("a.json", b""), ("bundle", b"\n{"), ("LICENSE", b"Apache"), ("receiver.toml", b"version = 1")):
        (folder / name).write_bytes(data)
    found = plan([folder], tmp_path / "out", ".hl7")
    assert [source.name for source, _ in found.pairs] == ["a.json", "bundle"]
    assert [source.name for source in found.left_out] == ["LICENSE", "receiver.toml"]


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


def test_each_message_of_a_batch_becomes_a_bundle_of_its_own(inbox: Path, tmp_path: Path) -> None:
    """They are statements one after the other: in one transaction the order of two updates would be lost."""
    bodies = [a08(str(n), str(10 + n)) for n in range(10)]
    batch = b"FHS|^~\\&|\rBHS|^~\\&|\r" + b"".join(bodies) + b"BTS|10\rFTS|1\r"
    (inbox / "a.hl7").write_bytes(b"BHS|^~\\&|\r" + b"".join(bodies) + b"BTS|11\r")
    done = list(convert_files.convert_file(inbox / "a.hl7", tmp_path / "a.hl7.json", PROFILE, "transaction"))
    assert [one.failure for one in done] == [""] * 10
    assert sorted(path.name for path in (tmp_path / "a.hl7").iterdir()) == [f"{n:02}.json" for n in range(1, 11)]
    assert [one.name.rpartition("#")[2] for one in done] == [str(n) for n in range(1, 11)]
    assert "warning batch-count" in done[-1].issues, "BTS-1 says eleven"
    assert messages_in(batch) == bodies


def test_a_bad_message_of_a_batch_costs_only_itself(inbox: Path, tmp_path: Path) -> None:
    (inbox / "a.hl7").write_bytes(a08("1", "11") + a08("2", "12").replace(b"|2.5.1|", b"|3.0|") + a08("3", "13"))
    good = list(convert_files.convert_file(inbox / "a.hl7", tmp_path / "a.json", PROFILE, "transaction"))
    (inbox / "b.hl7").write_bytes(b"BHS|^~\\&|\rPID|1\r" + a08("3", "13") + b"BTS|2\r")
    done = list(convert_files.convert_file(inbox / "b.hl7", tmp_path / "b.json", PROFILE, "transaction"))
    assert len(good) == 3
    assert [bool(one.failure) for one in done] == [True, False]


def test_a_batch_writes_over_no_other_inputs_bundle(inbox: Path, tmp_path: Path) -> None:
    (inbox / "a.hl7").write_bytes(a08("1", "11") + a08("2", "12"))
    other = tmp_path / "a" / "1.json"
    found = convert_files.convert_file(inbox / "a.hl7", tmp_path / "a.json", PROFILE, "transaction", frozenset({other}))
    assert [bool(one.failure) for one in found] == [True, False]
    assert not other.exists()


SHOWN = """<component><section><text>
MSH|^~\\&amp;|A|B|C|D|20260301||ADT^A01|1|P|2.5
MSH|^~\\&amp;|A|B|C|D|20260301||ADT^A01|2|P|2.5
</text></section></component>"""


def test_a_document_becomes_a_document_and_no_batch_whatever_lines_it_shows(inbox: Path, tmp_path: Path) -> None:
    for name in ("summary.xml", "SUMMARY.XML"):
        (inbox / name).write_bytes(minimal(SHOWN))
        done = convert_file(inbox / name, tmp_path / f"{name}.json", PROFILE)
        bundle = json.loads(done.target.read_bytes())
        assert (done.failure, bundle["type"]) == ("", "document")
    assert messages_in(minimal(SHOWN)) == [minimal(SHOWN)]
    as_transaction = convert_file(inbox / "summary.xml", tmp_path / "t.json", PROFILE, "transaction")
    assert json.loads(as_transaction.target.read_bytes())["entry"][0]["request"]["method"] == "PUT"


def test_a_document_of_a_month_has_the_time_of_its_conversion(tmp_path: Path) -> None:
    nobody = '<author><assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor></author>'
    (tmp_path / "a.xml").write_bytes(minimal(effectiveTime='<effectiveTime value="202603"/>', author=nobody))
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    (done,) = convert_files.convert_file(tmp_path / "a.xml", tmp_path / "a.json", PROFILE, at=at)
    assert json.loads(done.target.read_bytes())["timestamp"] == "2026-03-02T08:00:00+00:00"


@pytest.mark.parametrize(("stamp", "differ"), [("20260301120000", {"timestamp"}), ("20260301120000+0100", set())])
def test_two_runs_differ_at_most_in_when_the_bundle_was_assembled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stamp: str, differ: set[str]
) -> None:
    nobody = '<author><assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor></author>'
    (tmp_path / "a.xml").write_bytes(minimal(effectiveTime=f'<effectiveTime value="{stamp}"/>', author=nobody))
    runs = []
    for out in ("one", "two"):
        assert Command(capsys)("convert", "--out", tmp_path / out, tmp_path / "a.xml").code == 0
        runs.append(json.loads((tmp_path / out / "a.xml.json").read_bytes()))
    assert {name for name in runs[0].keys() | runs[1].keys() if runs[0].get(name) != runs[1].get(name)} == differ


def test_a_refused_document_is_told_with_line_and_column_and_no_word_of_it(inbox: Path, tmp_path: Path) -> None:
    (inbox / "torn.xml").write_bytes(minimal().replace(b"</family>", b"</given>"))
    done = convert_file(inbox / "torn.xml", tmp_path / "torn.json", PROFILE)
    assert re.fullmatch(r"not-xml at document line \d+: column \d+, ERR_\w+", done.failure)
    assert not done.target.exists()
    header = convert_file(inbox / "a.hl7", tmp_path / "a.json", PROFILE, "document")
    assert header.failure == "a document Bundle begins with a Composition, and there is none"
