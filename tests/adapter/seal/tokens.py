"""Tokens of SoftHSM2, each in a folder of its own; and why there are none, where there are none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
NEEDS = "CHARTBRIDGE_NEEDS_SOFTHSM"  # where it is set, a run without them has failed
CONFIGURATION = "SOFTHSM2_CONF"
PIN = "471101"


def library() -> str:
    """SoftHSM2's library, or a skip that says why."""
    found = next((path for path in LIBRARIES if Path(path).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        if os.environ.get(NEEDS):
            pytest.fail("softhsm2 is missing, and this run must not go without it")
        pytest.skip("needs SoftHSM2 (Debian: softhsm2)")
    return found


def configured(folder: Path) -> Path:
    """A configuration of SoftHSM2 whose tokens lie in this folder."""
    (folder / "tokens").mkdir(parents=True)
    path = folder / "softhsm2.conf"
    path.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return path


def new_token(label: str) -> None:
    """A token in the folder that the environment names."""
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def uri(token: str, key: str, pin_source: str = "kek.pin") -> str:
    return f"pkcs11:token={token};object={key}?module-path={library()}&pin-source={pin_source}"
