"""Settings: order of the sources, and that nothing unknown is taken for a wish (operations chapter §2)."""

import re
from pathlib import Path

import pytest

from adapter import settings
from adapter.errors import ConfigurationError
from adapter.settings import FILE, RESERVED, find_site, known_keys, load, parse

MINIMAL = f"""
[node]
org = "o"
name = "O"
system = "urn:x"
identifier = "o"
pairing = "{"0" * 32}"
[ledger]
name = "localhost/o"
shard = "2026"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_text(MINIMAL + "[http]\nport = 2\n", "utf-8")
    return tmp_path


def test_flag_stands_above_environment_above_file_above_default(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(site).http.host == "127.0.0.1"
    assert load(site).http.port == 2
    monkeypatch.setenv("CHARTBRIDGE_HTTP__PORT", "3")
    assert load(site).http.port == 3
    assert load(site, http={"port": 4}).http.port == 4
    assert load(site, http={"port": 4}).http.host == "127.0.0.1", "a flag replaces a key, not its table"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[htpp]\nport = 1", "unknown key htpp; did you mean http?"),
        ("[http]\nprot = 1", "unknown key http.prot; did you mean http.port?"),
        ('[access.client.x]\nscope = ""\nsystem = "s"\nidentifier = "i"\nscopes = ""\npurposes = ["TREAT"]',
         "unknown key access.client.x.scope; did you mean access.client.ID.scopes?"),
        ("[http]\nport = 0", "http.port: input should be greater than or equal to 1"),
        ("[http]\nport = ", "is not TOML"),
        ('[workers]\nmemory_mib = "much"', "workers.memory_mib: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(MINIMAL + text)
    assert said in caught.value.text
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_zone_must_be_known_before_a_date_needs_it() -> None:
    with pytest.raises(ConfigurationError, match="IANA"):
        parse(MINIMAL.replace('org = "o"', 'org = "o"\nzone = "Europe/Nowhere"'))


def test_a_variable_that_tests_and_tools_go_by_stops_no_node() -> None:
    """A run of the tests sets some of them for every node that it starts."""
    root = Path(__file__).parents[2]
    files = [root / ".ci/run", root / "Makefile", *root.glob("tests/**/*.py"), *root.glob("tools/**/*.py")]
    read = {
        name
        for file in files
        if file != Path(__file__)
        for name in re.findall(r"\bCHARTBRIDGE_[A-Z]+(?:_[A-Z]+)*\b(?!_)", file.read_text("utf-8"))
    }
    assert read == RESERVED
    page = (root / "docs/settings.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in RESERVED)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHARTBRIDGE_HTPP__PORT", "1", "unknown variable CHARTBRIDGE_HTPP__PORT; did you mean http.port?"),
        ("CHARTBRIDGE_PORT", "1", "unknown variable CHARTBRIDGE_PORT"),
        ("CHARTBRIDGE_HTTP__PROT", "1", "unknown key http.prot; did you mean http.port?"),
        ("CHARTBRIDGE_HTTP", "not json", "the environment cannot be read"),
    ],
)
def test_an_environment_that_sets_nothing_stops_the_start(
    site: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load(site)
    assert said in caught.value.text


def test_a_table_that_is_none_is_told_even_when_the_environment_sets_a_key_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text('http = "x"\n' + MINIMAL, "utf-8")
    with pytest.raises(ConfigurationError, match="http: "):
        load(tmp_path)
    monkeypatch.setenv("CHARTBRIDGE_HTTP__PORT", "3")
    assert load(tmp_path).http.port == 3


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        load(tmp_path)
    assert str(tmp_path) not in caught.value.text


def test_the_site_is_the_flag_else_the_variable_else_the_nearest_folder_upwards(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.delenv(settings.SITE_VARIABLE, raising=False)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ConfigurationError):
        find_site()
    assert find_site(site) == site
    with pytest.raises(ConfigurationError):
        find_site(elsewhere)
    monkeypatch.setenv(settings.SITE_VARIABLE, str(site))
    assert find_site() == site
    monkeypatch.delenv(settings.SITE_VARIABLE)
    (site / "below" / "further").mkdir(parents=True)
    monkeypatch.chdir(site / "below" / "further")
    assert find_site() == site


def test_no_setting_is_a_secret() -> None:
    """Secrets stand in files of their own, so that settings may be printed."""
    secret = [key for key in known_keys() if any(word in key for word in ("key", "secret", "password", "token"))]
    assert [key for key in secret if not key.endswith(("_file", "_url", "token_s"))] == []
