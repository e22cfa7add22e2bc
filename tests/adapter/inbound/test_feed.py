"""Feeds are read strictly: what loads can run. Source: operations chapter §4."""

import re
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import ConfigurationError
from adapter.inbound.feed import Feed, feed_from, known_keys, load_feeds

MINIMAL: dict[str, Any] = {"feed": "lab-oru", "org": "stadtklinik", "profile": "lab-oru"}
FULL = """
feed = "lab-oru"
org = "stadtklinik"
profile = "lab-oru"
state = "paused"
[listen]
kind = "mllp"
host = "0.0.0.0"
port = 2576
tls = { cert_file = "lab.pem", key_file = "lab.key", client_ca_file = "ca.pem", client_names = ["lis.lab.example"] }
allow = ["10.20.0.0/16", "fd00::/8"]
limits = { frame_bytes = 1_048_576, frame_s = 5, idle_s = 60, connections = 10 }
[policy]
poison = "skip"
invariants = true
"""


def write(site: Path, text: str, name: str = "lab-oru.toml") -> None:
    (site / "feeds").mkdir(exist_ok=True)
    (site / "feeds" / name).write_text(text)


def test_a_feed_is_read_with_its_defaults() -> None:
    feed = feed_from(MINIMAL)
    assert (feed.name, feed.state, feed.listen.kind, feed.listen.host, feed.listen.port) == (
        "lab-oru", "running", "mllp", "127.0.0.1", 2575,
    )  # fmt: skip
    assert (feed.listen.limits.frame_bytes, feed.listen.limits.connections) == (33_554_432, 1_000)
    assert feed.policy.poison == "hold-patient"
    assert not feed.policy.invariants


def test_every_key_is_read(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    feed = load_feeds(tmp_path, "stadtklinik")["lab-oru"]
    assert feed.state == "paused"
    assert feed.receives
    assert feed.listen.tls is not None
    assert feed.listen.tls.cert_file == tmp_path / "lab.pem"
    assert feed.listen.tls.client_ca_file == tmp_path / "ca.pem"
    assert feed.listen.tls.client_names == ("lis.lab.example",)
    assert [str(network) for network in feed.listen.networks] == ["10.20.0.0/16", "fd00::/8"]
    assert feed.listen.limits.frame_s == 5
    assert feed.policy.poison == "skip"
    assert feed.policy.invariants


def test_the_revision_follows_the_file(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    before = load_feeds(tmp_path, "stadtklinik")["lab-oru"].revision
    write(tmp_path, FULL + "\n# changed\n")
    assert before != load_feeds(tmp_path, "stadtklinik")["lab-oru"].revision


OWN = """
name = "lab-oru"
extends = "house"
namespace = "urn:oid:2.999.1"
[codes]
LN = { system = "urn:oid:2.999.2", map = "codes/local.csv" }
"""


def test_the_revision_follows_every_file_that_the_site_has_of_the_profile(tmp_path: Path) -> None:
    write(tmp_path, FULL)

    def revision() -> str:
        return load_feeds(tmp_path, "stadtklinik")["lab-oru"].revision

    shipped = revision()
    own, house = tmp_path / "profiles" / "lab-oru", tmp_path / "profiles" / "house"
    deciding = (own / "profile.toml", own / "codes" / "local.csv", own / "segments" / "PID.Patient.csv",
                own / "messages" / "oru.toml", own / "hooks.py", house / "profile.toml", house / "codes" / "local.csv",
                house / "hooks.py")  # fmt: skip
    others = (own / "fixtures" / "a.hl7", own / "codes" / "local.csv~", tmp_path / "profiles" / "else" / "profile.toml")
    for file in (*deciding, *others):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text({own: OWN, house: 'name = "house"\nextends = "default"\n'}.get(file.parent, ""), "utf-8")
    seen = [revision()]
    assert seen[0].startswith(f"{shipped}."), "beside that of the file"
    for file in deciding:
        text = file.read_text("utf-8")
        file.write_text(text + "# changed\n", "utf-8")
        seen.append(revision())
        file.write_text(text, "utf-8")
        assert revision() == seen[0], "what was put back is what it was"
    assert len(set(seen)) == 1 + len(deciding)
    for file in others:
        file.write_text("changed", "utf-8")
    assert revision() == seen[0]
    (own / "profile.toml").write_text("not toml", "utf-8")
    assert revision() not in seen, "a fault is a change, and no reason to say nothing"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profil": "x"}, "unknown key profil; did you mean profile?"),
        ({"listen": {"prot": 1}}, "unknown key listen.prot; did you mean listen.port?"),
        ({"listen": {"limits": {"frame_byte": 1}}}, "did you mean listen.limits.frame_bytes?"),
        ({"frame_s": 1}, "did you mean listen.limits.frame_s?"),
        ({"listen": {"tls": {"cert": "a"}}}, "unknown key listen.tls.cert"),
        ({"xyzzy": 1}, "unknown key xyzzy"),
        ({"name": "x"}, "unknown key name"),
        ({"revision": "x"}, "unknown key revision"),
        ({"listen": {"port": "2575"}}, "expected `int`, got `str`"),
        ({"listen": {"port": 70000}}, "listen.port"),
        ({"listen": {"kind": "ftp"}}, "listen.kind"),
        ({"state": "asleep"}, "state"),
        ({"feed": "Lab ORU"}, "feed"),
        ({"listen": {"limits": {"frame_s": 0}}}, "listen.limits.frame_s"),
        ({"listen": {"allow": ["10.20.0.0/99"]}}, "listen.allow"),
        ({"listen": {"tls": {"cert_file": "a", "key_file": "b", "client_names": ["x"]}}}, "client_ca_file"),
        ({"listen": {"host": "10.0.0.1"}}, "open to everyone"),
        ({"listen": {"host": "hl7.hospital.example"}}, "open to everyone"),
        ({"listen": {"host": "10.0.0.1", "tls": {"cert_file": "a", "key_file": "b"}}}, "open to everyone"),
    ],
)
def test_what_cannot_run_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        feed_from({**MINIMAL, **change}, "feeds/lab-oru.toml")
    assert says in caught.value.text
    assert caught.value.text.startswith("feeds/lab-oru.toml: ")
    assert caught.value.hint


@pytest.mark.parametrize("missing", ["feed", "org", "profile"])
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        feed_from({key: value for key, value in MINIMAL.items() if key != missing})


def test_two_feeds_never_share_a_port_or_a_name(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    write(tmp_path, FULL.replace('feed = "lab-oru"', 'feed = "other"'), "other.toml")
    with pytest.raises(ConfigurationError, match="port 2576"):
        load_feeds(tmp_path, "stadtklinik")
    write(tmp_path, FULL.replace("2576", "2577"), "other.toml")
    with pytest.raises(ConfigurationError, match="feed name lab-oru"):
        load_feeds(tmp_path, "stadtklinik")


@pytest.mark.parametrize("text", ["feed = ", "feed = 'a\xff'", ""])
def test_a_broken_file_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    write(tmp_path, "")
    (tmp_path / "feeds/lab-oru.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"feeds/lab-oru\.toml") as caught:
        load_feeds(tmp_path, "stadtklinik")
    assert str(tmp_path) not in caught.value.text


def test_a_feed_of_another_organisation_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    with pytest.raises(ConfigurationError, match="org"):
        load_feeds(tmp_path, "landspital")


def test_a_site_without_feeds_has_none(tmp_path: Path) -> None:
    assert load_feeds(tmp_path, "stadtklinik") == {}


@pytest.mark.parametrize(
    ("state", "takes"), [("running", True), ("paused", True), ("draining", False), ("stopped", False)]
)
def test_a_paused_feed_takes_messages_and_a_draining_one_does_not(state: str, takes: bool) -> None:
    assert feed_from({**MINIMAL, "state": state}).receives is takes


def test_known_keys_are_spelled_as_in_the_file() -> None:
    keys = known_keys()
    assert {"feed", "org", "profile", "listen.port", "listen.limits.idle_s", "listen.tls.client_names"} <= set(keys)
    assert "name" not in keys
    assert "revision" not in keys
    assert isinstance(feed_from(MINIMAL), Feed)


def test_every_key_stands_on_its_page_and_the_page_names_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "feeds.md").read_text("utf-8").split("## States")[0]
    tables = {"listen", "listen.tls", "listen.limits", "policy"}
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE)) == set(known_keys()) - tables


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ({"kind": "folder"}, "a folder without listen.path"),
        ({"path": "in"}, "listen.path, and no folder"),
        ({"kind": "folder", "path": "in", "pattern": "in/*.hl7"}, "names files, not folders"),
        ({"kind": "folder", "path": "in", "poll_s": 0}, "poll_s"),
    ],
)
def test_a_folder_has_a_path_and_nothing_else_has(listen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        feed_from({**MINIMAL, "listen": listen})


def test_two_feeds_never_watch_one_folder(tmp_path: Path) -> None:
    text = 'feed = "{0}"\norg = "stadtklinik"\nprofile = "x"\n[listen]\nkind = "folder"\npath = "in"\n'
    for name in ("one", "two"):
        write(tmp_path, text.format(name), f"{name}.toml")
    with pytest.raises(ConfigurationError, match="stands in two files"):
        load_feeds(tmp_path, "stadtklinik")


@pytest.mark.parametrize(
    ("state", "processes"), [("running", True), ("paused", False), ("draining", True), ("stopped", False)]
)
def test_what_a_feed_has_taken_goes_on_while_it_runs_or_drains(state: str, processes: bool) -> None:
    assert feed_from({**MINIMAL, "state": state}).processes is processes
