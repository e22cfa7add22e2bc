"""The verbs on real sites and files: init, convert, send, feed, msg, map, token."""

import getpass
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from adapter import samples
from adapter.lock import lock
from adapter.settings import load
from tests.adapter.cli.command import Command, Ended
from tests.adapter.nodes import edit

ADMISSION = samples.folder() / "adt-a01-admission.hl7"


def test_init_makes_a_site_and_says_what_is_next(plain: Command, tmp_path: Path) -> None:
    ended = plain("init", tmp_path / "site", "--org", "stadtklinik", "--name", "Stadtklinik")
    assert ended.code == 0
    assert f"chartbridge --site {tmp_path / 'site'} serve" in ended.out
    assert load(tmp_path / "site").node.name == "Stadtklinik"
    assert plain("init", tmp_path / "site").code == 3
    assert plain("init", tmp_path / "other", "--org", "No Such").code == 3
    assert not (tmp_path / "other").exists()


def test_convert_ends_with_0_8_1_or_2(plain: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.hl7"
    bad.write_bytes(b"not a message")
    out = tmp_path / "out"
    assert plain("convert", "--out", out, ADMISSION).code == 0
    some = plain("convert", "--out", out, ADMISSION, bad, json=True)
    assert some.code == 8
    assert [bool(one["error"]) for one in some.objects()] == [False, True], "the list is on stdout"
    assert str(bad) in some.err
    assert plain("convert", "--out", out, bad).code == 1
    assert plain("convert", "--out", out, ADMISSION, ADMISSION).code == 2
    assert plain("convert", "--out", out, "--bundle", "heap", ADMISSION).code == 2
    assert plain("convert", "--out", out, "--profile", "nowhere", ADMISSION).code == 3
    assert json.loads((out / "adt-a01-admission.hl7.json").read_bytes())["resourceType"] == "Bundle"


def test_convert_tells_what_it_leaves_out_of_a_folder(plain: Command, tmp_path: Path) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    (inbox / "a.hl7").write_bytes(ADMISSION.read_bytes())
    (inbox / "LICENSE").write_text("Apache License", "utf-8")
    ended = plain("convert", "--out", out, inbox, json=True)
    assert (ended.code, [one["file"] for one in ended.objects()]) == (0, [str(inbox / "a.hl7")])
    assert f"{inbox / 'LICENSE'}: left out, neither a message nor a document" in ended.err
    assert plain("convert", "--out", out, inbox, inbox / "LICENSE").code == 8, "what is named is meant"
    (inbox / "torn").write_bytes(b"<ClinicalDocument>")
    assert plain("convert", "--out", out, inbox).code == 8


def test_a_list_names_states_and_no_content(command: Command) -> None:
    listed = command("msg", "list", json=True).objects()
    assert [(one["seq"], one["state"]) for one in listed] == [
        (5, "rejected"),
        (4, "duplicate"),
        (3, "held"),
        (2, "quarantined"),
        (1, "delivered"),
    ]
    assert "Nr1" not in str(listed)
    only = command("msg", "list", "--state", "held", json=True).objects()
    assert [one["seq"] for one in only] == [3]
    assert command("msg", "list", "--feed", "other", json=True).objects() == []
    assert command("msg", "list", "--limit", "2").out.count("\n") == 3, "a head and a line each"


def test_content_is_shown_only_for_a_reason_which_is_recorded(command: Command) -> None:
    before = command("ledger", "status", json=True).objects()[0]["size"]
    hidden = command("msg", "show", "2", json=True)
    assert "content" not in hidden.objects()[0]
    assert "Nr12" not in hidden.out
    shown = command("msg", "show", "2", "--reveal", "the sender asked", json=True).objects()[0]
    assert "Demo^Nr12" in shown["content"]
    assert command("ledger", "status", json=True).objects()[0]["size"] == before + 1
    assert "Demo^Nr12" in command("msg", "show", "2", "--reveal", "the sender asked").out


def test_a_dry_run_names_what_would_go_with_it_and_changes_nothing(command: Command) -> None:
    dry = command("msg", "replay", "2", "--dry-run", json=True).objects()[0]
    assert dry["messages"] == [2, 3]
    assert [one["state"] for one in command("msg", "list", json=True).objects()][2:4] == ["held", "quarantined"]
    sent = command("msg", "replay", "2", json=True).objects()[0]
    assert sent["messages"] == [2, 3]
    assert command("msg", "list", "--state", "new", json=True).out.count("\n") == 2


def test_a_dry_run_of_a_replay_says_what_each_message_would_change_and_no_value(command: Command) -> None:
    assert command.site is not None
    said = command("msg", "replay", "2", "--dry-run")
    assert said.out == "2 3\n2: unchanged, quarantined → quarantined, 0 changes  wrong-sender MSH\n" + (
        "3: unchanged, held → held, 0 changes  behind message 2\n"
    )
    edit(command.site / "profiles" / "strict" / "profile.toml", '"GOOD"', '"*"')
    mended = command("msg", "replay", "2", "--dry-run")
    lines = mended.out.splitlines()
    assert lines[1] == "2: changed, quarantined → mapped, 1 changes  wrong-sender"
    assert lines[2].startswith("  + Patient/")
    assert lines[3:] == ["3: unchanged, held → mapped, 0 changes"]
    assert "1 unchanged, 1 changed, 0 worse" in mended.err
    change = command("msg", "replay", "2", "--dry-run", json=True).objects()[2]
    assert (change["schema"], change["kind"], change["path"]) == ("chartbridge.msg.change/1", "added", "resource")
    assert "Nr12" not in mended.out


def test_a_dry_run_says_when_the_running_service_knows_other_files(command: Command) -> None:
    assert command.site is not None
    with ExitStack() as served:
        served.callback(lock(command.site))
        assert "apply it before the replay" not in command("msg", "replay", "2", "--dry-run").err
        edit(command.site / "profiles" / "strict" / "profile.toml", '"GOOD"', '"*"')
        assert "feed main: not what serve runs" in command("msg", "replay", "2", "--dry-run").err


@pytest.mark.parametrize(
    ("words", "code"), [(["1"], 5), (["99"], 5), ([], 2), (["2", "--fingerprint", "x"], 2), (["--fingerprint", "x"], 0)]
)
def test_a_replay_of_what_waits_for_nobody_is_told(command: Command, words: list[str], code: int) -> None:
    assert command("msg", "replay", *words).code == code


def test_one_group_of_errors_is_replayed_by_its_fingerprint(command: Command) -> None:
    (one,) = command("msg", "list", "--state", "quarantined", json=True).objects()
    assert command("msg", "replay", "--fingerprint", one["fingerprint"], json=True).objects()[0]["messages"] == [2, 3]


def test_feeds_are_listed_with_the_revision_that_an_apply_reports(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('feed = "lab"\norg = "stadtklinik"\nprofile = "default"\n[listen]\nport = 2599\n', "utf-8")
    applied = command("feed", "apply", file, json=True).objects()[0]
    listed = {one["feed"]: one for one in command("feed", "list", json=True).objects()}
    assert listed["lab"]["revision"] == applied["revision"]
    assert listed["lab"]["port"] == 2599
    assert ":" in applied["entry"]
    assert command("feed", "apply", tmp_path / "absent.toml").code == 3


def test_a_token_is_signed_by_the_sites_key_and_says_no_more_than_the_client_may(command: Command) -> None:
    assert command.site is not None
    token = command("token", "issue", "clinic", "--scope", "system/Patient.r").out.strip()
    key = ECKey.import_key((command.site / "keys" / "token").read_bytes())
    claims = json.loads(jws.deserialize_compact(token, key, algorithms=["ES256"]).payload)
    assert claims["scope"] == "system/Patient.r"
    assert command("token", "issue", "nobody").code == 5
    assert command("token", "issue", "clinic", "--scope", "system/Patient.d").code == 1
    assert command("token", "issue", "clinic", "--purpose", "HMARKT").code == 1
    assert command("token", "issue", "clinic", "--seconds", "86400").code == 2


def test_explain_names_the_field_behind_each_value_and_shows_none_unasked(plain: Command) -> None:
    masked = plain("map", "explain", ADMISSION)
    assert masked.code == 0
    assert "PID-5" in masked.out
    assert "Demo" not in masked.out
    assert "Demo" in plain("map", "explain", ADMISSION, "--values").out


def test_a_place_is_a_field_and_not_the_beginning_of_a_number(plain: Command) -> None:
    def places(place: str) -> set[str]:
        found = plain("map", "explain", ADMISSION, "--place", place, json=True).objects()
        return {one.get("place") or one.get("unmapped", "") for one in found}

    assert places("PID-1") <= {"PID-1"}
    assert {place.split("[")[0].split(".")[0] for place in places("PID-3")} == {"PID-3"}
    assert any(place.startswith("PID-11") for place in places("PID"))
    assert plain("map", "explain", ADMISSION.parent).code == 2


def test_lint_and_coverage_end_with_what_they_found(plain: Command) -> None:
    assert plain("map", "lint").code == 0
    assert plain("map", "coverage", ADMISSION).code == 1, "one message does not fire every row"
    messages, of_documents = (
        rows_fired(plain("map", "coverage", each)) for each in (samples.folder(), samples.documents())
    )
    every = plain("map", "coverage")
    assert every.code == 0, "the samples do"
    assert rows_fired(every) == messages + of_documents > messages


def rows_fired(ended: Ended) -> int:
    return int(ended.err.split(" rows fired")[0].rpartition("\n")[2])


def test_who_acted_is_the_person_at_the_terminal(command: Command) -> None:
    command("msg", "replay", "2", "--why", "profile mended")
    history = command("msg", "show", "2", json=True).objects()[0]["history"]
    assert (history[-1]["who"], history[-1]["why"]) == (getpass.getuser(), "profile mended")
