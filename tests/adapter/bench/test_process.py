"""What is measured is what the bench itself runs."""

from pathlib import Path

import pytest

from adapter.bench import process


def test_a_folder_named_like_the_package_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout the current folder holds the plain packages, and PYTHONPATH the compiled ones."""
    for place, text in (("here", "the folder it was started in"), ("path", "the packages")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "measured.py").write_text(f"print({text!r}, flush=True); input()")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    with process.running("measured") as found:
        assert found.ready == "the packages"
