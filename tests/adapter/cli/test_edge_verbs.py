"""`feed` and `msg` in full, on real sites: what they say, what they change, how they end (operations §1, §4)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from adapter import journals
from adapter.cli import completion
from adapter.cli.console import since
from adapter.errors import UsageError
from adapter.inbound.journal import Incoming
from adapter.lock import lock
from adapter.mask import masked
from adapter.site import now, open_site
from tests.adapter.cli.command import Command
from tests.adapter.nodes import a08
from tests.mappings.test_embedded import SUMMARY

LAB = 'feed = "lab"\norg = "stadtklinik"\nprofile = "default"\n[listen]\nport = 2599\n'
ENTRY = "[0-9]{4}:[0-9]+"


def size(command: Command) -> int:
    return int(command("ledger", "status", json=True).objects()[0]["size"])


def states(command: Command) -> dict[int, str]:
    return {one["seq"]: one["state"] for one in command("msg", "list", json=True).objects()}


# feed ----------------------------------------------------------------------------------------------------------------


def test_a_feed_is_listed_with_what_runs_and_what_waits(command: Command) -> None:
    (one,) = command("feed", "list", json=True).objects()
    assert (one["feed"], one["state"], one["waiting"], one["stopped"]) == ("main", "running", 0, 2)
    assert (one["runs"], one["drift"]) == ("", ""), "nothing runs, so nothing differs from it"


def test_a_feed_is_shown_with_its_settings_and_who_applied_it(command: Command) -> None:
    assert command("feed", "pause", "main", "--why", "maintenance", "--author", "ada").code == 0
    one = command("feed", "show", "main", json=True).objects()[0]
    assert (one["state"], one["poison"], one["listen"]["host"]) == ("paused", "hold-patient", "127.0.0.1")
    assert one["messages"] == {"delivered": 1, "quarantined": 1, "held": 1, "duplicate": 1, "rejected": 1, "new": 0}
    assert (one["applied"]["by"], one["applied"]["revision"]) == ("ada", one["revision"])
    assert "hold-patient" in command("feed", "show", "main").out
    assert command("feed", "show", "nobody").code == 5


def test_each_state_is_an_entry_and_a_line_of_the_file(command: Command) -> None:
    assert command.site is not None
    file = command.site / "feeds" / "main.toml"
    for verb, state in (("pause", "paused"), ("drain", "draining"), ("resume", "running")):
        before = size(command)
        done = command("feed", verb, "main", json=True).objects()[0]
        assert (done["state"], done["taken_up"]) == (state, False)
        assert f'state = "{state}"\n' in file.read_text("utf-8")
        assert file.read_text("utf-8").startswith("# One sender's stream"), "comments stay"
        assert size(command) == before + 1
    assert command("feed", "pause", "nobody").code == 5


def test_a_dry_run_applies_nothing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB, "utf-8")
    before = size(command)
    ended = command("feed", "apply", "--dry-run", tmp_path / "lab.toml", json=True)
    assert (ended.code, ended.objects()[0]["dry_run"], size(command)) == (0, True, before)
    (tmp_path / "lab.toml").write_text(LAB.replace("profile", "profil"), "utf-8")
    assert command("feed", "apply", "--dry-run", tmp_path / "lab.toml").code == 3


def test_an_apply_names_the_commit_of_the_file(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(LAB, "utf-8")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "feeds: lab"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)  # noqa: S603, S607
    command("feed", "apply", file)
    git = command("feed", "show", "lab", json=True).objects()[0]["applied"]["git"]
    assert len(git) >= 7
    file.write_text(LAB + "# changed\n", "utf-8")
    command("feed", "apply", file)
    assert command("feed", "show", "lab", json=True).objects()[0]["applied"]["git"] == git + "+", "not as committed"


def test_a_diff_shows_what_an_apply_would_change_and_nothing_else(command: Command, tmp_path: Path) -> None:
    assert command.site is not None
    file = tmp_path / "main.toml"
    file.write_bytes((command.site / "feeds" / "main.toml").read_bytes())
    assert command("feed", "diff", file).out == ""
    file.write_text(file.read_text("utf-8") + '[policy]\npoison = "skip"\n', "utf-8")
    assert '+poison = "skip"' in command("feed", "diff", file).out
    assert "-feed" not in command("feed", "diff", file).out
    own = command.site / "feeds" / "main.toml"
    own.write_text(own.read_text("utf-8") + "# by hand\n", "utf-8")
    assert "+# by hand" in command("feed", "diff", "main").out, "against what ran last"


def test_a_changed_profile_is_drift_and_a_line_of_the_diff(command: Command) -> None:
    assert command.site is not None

    def drift() -> str:
        return str(command("feed", "list", json=True).objects()[0]["drift"])

    own = command.site / "profiles" / "strict" / "profile.toml"
    with ExitStack() as served:
        served.callback(lock(command.site))
        assert (drift(), command("feed", "diff", "main").out) == ("", "")
        own.write_text(own.read_text("utf-8") + '[authorities]\nHOSP = "urn:oid:2.999.1.4"\n', "utf-8")
        assert drift() == "drift"
    assert command("feed", "diff", "main").out == "profile strict: its files are not those that run\n"


def test_a_trial_says_what_would_become_of_each_message_and_keeps_none(command: Command, tmp_path: Path) -> None:
    batch = tmp_path / "night.hl7"
    batch.write_bytes(a08("1", "11") + a08("2", "12", sender="STRANGE") + a08("3", "13", processing="T"))
    before = states(command)
    ended = command("feed", "test", "main", batch, json=True)
    found = {row["what"].rpartition("/")[2]: (row["ok"], row["found"]) for row in ended.objects()}
    assert ended.code == 8
    assert found["night.hl7#1"][0]
    assert "resources" in found["night.hl7#1"][1]
    assert found["night.hl7#2"] == (False, "quarantined: wrong-sender")
    assert found["night.hl7#3"][1].startswith("refused: processing-id")
    assert states(command) == before


def test_a_trial_of_a_folder_says_whether_files_could_be_moved(command: Command, tmp_path: Path) -> None:
    text = 'feed = "night"\norg = "stadtklinik"\nprofile = "default"\n[listen]\nkind = "folder"\npath = "{}"\n'
    (tmp_path / "night.toml").write_text(text.format(tmp_path), "utf-8")
    assert command("feed", "test", tmp_path / "night.toml").code == 0
    (tmp_path / "night.toml").write_text(text.format(tmp_path / "absent"), "utf-8")
    ended = command("feed", "test", tmp_path / "night.toml", json=True)
    assert (ended.code, ended.objects()[-1]["found"]) == (8, "is no folder")


def test_a_shell_is_offered_the_names_of_feeds(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command.site is not None
    monkeypatch.setenv("CHARTBRIDGE_SITE", str(command.site))
    assert (completion.feeds("m"), completion.feeds("x")) == (["main"], [])
    (command.site / "feeds" / "main.toml").write_text("not toml", "utf-8")
    assert completion.feeds("") == []


# msg -----------------------------------------------------------------------------------------------------------------


def test_a_list_since_a_time_ends_there(command: Command) -> None:
    assert len(command("msg", "list", "--since", "1h", json=True).objects()) == 5
    assert command("msg", "list", "--since", "2999-01-01", json=True).objects() == []
    assert command("msg", "list", "--since", "yesterday").code == 2


def test_times_are_local_for_people_and_utc_for_programs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert "+05:30" in command("msg", "list").out
        assert command("msg", "list", json=True).objects()[0]["received"].endswith("+00:00")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_message_is_shown_by_its_shape_and_by_its_values_only_for_a_reason(command: Command) -> None:
    before = size(command)
    one = command("msg", "show", "2", json=True).objects()[0]
    assert "|xxxx^xx99|" in one["masked"]
    assert "99^^^xxxx&9.999.9.9&xxx^xx" in one["masked"]
    assert "content" not in one
    assert size(command) == before
    revealed = command("msg", "show", "2", "--reveal", "asked by the ward", json=True).objects()[0]
    assert "Demo^Nr12" in revealed["content"]
    assert size(command) == before + 1
    assert command("msg", "show", "4", json=True).objects()[0]["masked"] == "", "a duplicate has no content of its own"
    assert command("msg", "show", "4", "--reveal", "curious").code == 5


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (["release", "3"], {3: "new"}),
        (["discard", "2", "--why", "irrtümlich gesendet", "--yes"], {2: "discarded", 3: "new"}),
        (["discard", "5", "--why", "a test", "--yes"], {5: "discarded"}),
    ],
)
def test_a_decision_is_recorded_and_moves_what_it_names(
    command: Command, words: list[str], after: dict[int, str]
) -> None:
    before = size(command)
    said = command("msg", *words, "--dry-run", json=True).objects()[0]
    assert (said["dry_run"], states(command)[3], size(command)) == (True, "held", before)
    assert command("msg", *words).code == 0
    assert {seq: state for seq, state in states(command).items() if seq in after} == after
    assert size(command) == before + 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["discard", "2", "--why", "x"], 2),
        (["discard", "2", "--yes"], 2),
        (["discard", "1", "--why", "x", "--yes"], 5),
        (["hold", "1"], 5),
        (["release", "2"], 5),
        (["release"], 2),
        (["resend", "1"], 5),
        (["resend", "99"], 5),
        (["hold", "99"], 5),
    ],
)
def test_a_decision_that_cannot_be_ends_with_its_code_and_changes_nothing(
    command: Command, words: list[str], code: int
) -> None:
    before = states(command), size(command)
    ended = command("msg", *words)
    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert "\ntry: " in ended.err
    assert (states(command), size(command)) == before


def test_an_export_is_masked_unless_a_reason_is_given_and_recorded_either_way(command: Command, tmp_path: Path) -> None:
    before = size(command)
    assert command("msg", "export", "--dir", tmp_path / "a", "1", "2").code == 0
    assert command("msg", "export", "--dir", tmp_path / "b", "2", "--reveal", "the vendor asked").code == 0
    assert size(command) == before + 2
    assert b"Nr12" not in (tmp_path / "a" / "2.hl7").read_bytes()
    assert (tmp_path / "b" / "2.hl7").read_bytes() == a08("2", "12", sender="STRANGE")
    assert (tmp_path / "b" / "2.hl7").stat().st_mode & 0o077 == 0
    assert command("msg", "export", "--dir", tmp_path / "b", "2").code == 2, "nothing is written over"


def test_tail_tells_what_happened_in_its_order(command: Command) -> None:
    told = command("msg", "tail", "--since", "1h", "--limit", "10", json=True).objects()
    assert {one["schema"] for one in told} == {"chartbridge.msg.tail/1"}
    assert [one["state"] for one in told if one["seq"] == 1][:3] == ["new", "mapped", "logged"]
    only = command("msg", "tail", "--since", "1h", "--state", "rejected", "--limit", "1", json=True).objects()
    assert [one["seq"] for one in only] == [5]


def test_tail_ends_with_130_when_it_is_interrupted(command: Command) -> None:
    code = "from adapter.cli import main; main()"
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, "--site", str(command.site), "--json", "msg", "tail", "--since", "1h"],
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["seq"] == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (["feed", "show", "main"], "feed.show"),
        (["feed", "diff", "main"], "feed.diff"),
        (["feed", "test", "main"], "feed.test"),
        (["feed", "pause", "main"], "feed.apply"),
        (["msg", "release", "3", "--dry-run"], "msg.release"),
        (["msg", "discard", "2", "--why", "x", "--dry-run"], "msg.discard"),
        (["msg", "export", "1", "--dir", "x", "--dry-run"], "msg.export"),
        (["msg", "hold", "1", "--dry-run"], "msg.hold"),
    ],
)
def test_every_result_has_its_tag(command: Command, words: list[str], schema: str) -> None:
    ended = command(*words, json=True)
    assert ended.schemas() == {f"chartbridge.{schema}/1"}, ended.err


def test_since_takes_spans_and_times() -> None:
    at = now()
    assert since("", at) is None
    assert (at - (since("90m", at) or at)).total_seconds() == 5400
    assert (since("2026-03-04T08:15+01:00", at) or at).isoformat() == (
        (since("2026-03-04T07:15:00+00:00", at) or at).isoformat()
    )
    with pytest.raises(UsageError):
        since("1 fortnight", at)


def test_masking_keeps_the_shape_and_no_value() -> None:
    body = (
        "MSH|^~\\&|LAB|H|CB|H|20260304||ADT^A08|77|P|2.5.1||||||UNICODE UTF-8\rPID|1||4711^^^H||Müller^Ana||\r\nNr 7\r"
    )
    shape = masked(body.encode("utf-8"))
    assert shape == (
        "MSH|^~\\&|LAB|H|CB|H|99999999||ADT^A08|99|P|2.5.1||||||UNICODE UTF-8\rPID|9||9999^^^x||xxxxxx^xxx||\r\nxx 9\r"
    )
    assert masked(b"\xff\xfe\x00") == masked(b"\xff\xfe\x00")
    assert "4711" not in masked(b"no message 4711")


def test_a_documents_shape_is_its_elements_and_no_value() -> None:
    """Names that CDA could have stay, and what says how to read a value; not the value, nor an invented name."""
    own = b"<Muster-Ana Ana='Ana'>Ana<![CDATA[Ana]]><!-- Ana --></Muster-Ana>"
    data = b'<?xml version="1.0" encoding="UTF-8"?>' + SUMMARY.replace(b"</name>", own + b"</name>", 1)
    shape = masked(data)
    assert '<participant typeCode="CSM"><participantRole classCode="MANU">' in shape
    assert '<effectiveTime><low value="99999999"/></effectiveTime>' in shape
    assert 'xsi:type="CD" code="999999999"' in shape
    for said in ("Ana", "Muster", "Nuts", "Example", "2020", "414285001", "P1"):
        assert said not in shape
    assert [len(line) for line in shape.split("\n")] == [len(line) for line in data.decode().split("\n")]
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        assert masked(SUMMARY.decode().encode(codec)).lstrip("\ufeff") == masked(SUMMARY)


@pytest.mark.parametrize(
    "data", [b"<" * 200_000, b"<a " + b"x" * 200_000, b"<a " + b"x='" * 70_000, b"<a b=" + b'"' * 99_999]
)
def test_the_shape_of_a_hostile_document_is_found_at_once(data: bytes) -> None:
    begin = time.perf_counter()
    assert len(masked(data)) == len(data)
    assert time.perf_counter() - begin < 2


def test_documents_of_a_feed_are_shown_masked_and_exported_under_their_name(command: Command, tmp_path: Path) -> None:
    assert command.site is not None
    tried = tmp_path / "summary.xml"
    tried.write_bytes(SUMMARY)
    torn = tmp_path / "torn.xml"
    torn.write_bytes(SUMMARY[:-9])
    rows = {
        Path(one["what"].split("#")[0]).name: one
        for one in command("feed", "test", "main", tried, torn, json=True).objects()
    }
    assert rows["summary.xml"]["ok"]
    assert "resources" in rows["summary.xml"]["found"]
    assert rows["torn.xml"]["found"].startswith("refused: not-xml at document line")
    asyncio.run(keep(command.site, SUMMARY))
    seq = max(states(command))
    shown = command("msg", "show", str(seq), json=True).objects()[0]
    assert shown["masked"].startswith("<ClinicalDocument")
    assert "Nuts" not in shown["masked"]
    assert "Nuts" in command("msg", "show", str(seq), "--reveal", "review", json=True).objects()[0]["content"]
    assert command("msg", "export", str(seq), "--dir", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{seq}.xml"]


async def keep(folder: Path, data: bytes) -> None:
    """Into the journal of a site that nobody serves."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(open_site(folder))
        journal = await journals.writer(site, lost=lambda text: None)
        await journal.start()
        stack.push_async_callback(journal.close)
        await journal.accept(Incoming("main", now(), data, "new", "AA", "20260301120000+0000", lanes=(1,)))
