"""A full disk refuses, loses nothing, and is over when there is room again (operations chapter §9, F8).

The site lies on a small file system of its own, which a ballast file fills while a hospital sends: it gets AE (CE) and
sends again. The ballast goes; everything is acknowledged without anybody's help, and the checker finds nothing lost,
doubled or altered.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapter.node import running
from tests.faults import account
from tests.faults.process import create, serving
from tests.simulators.hospital import Hospital

SIZE = 24 << 20
LEFT = 96 << 10  # what the ballast leaves


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of 24 MB; mounting one needs root."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("F8: only root can mount a small file system")
    command = [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603
        pytest.skip("F8: no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run([umount, "--lazy", str(folder)], capture_output=True, check=True)  # noqa: S603


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder) as found:
        yield found


def fill(folder: Path) -> Path:
    """Leave little room."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free
    ballast.write_bytes(b"\0" * max(0, free - LEFT))
    return ballast


@pytest.mark.crash
def test_a_full_disk_refuses_and_recovers_alone(small_disk: Path) -> None:
    place = create(small_disk / "site")

    async def run() -> None:
        hospital = Hospital(place.mllp_port)
        async with serving(place.folder, output=small_disk.parent / "serve.log") as served:
            assert await served.ready(place.mllp_port)
            sending = asyncio.create_task(hospital.send())
            await hospital.heard(lambda codes: codes["CA"] > 20)
            ballast = fill(small_disk)
            await hospital.heard(lambda codes: codes["CE"] > 20)
            assert served.running
            ballast.unlink()
            before = hospital.codes["CA"]
            await hospital.heard(lambda codes: codes["CA"] > before + 40)
            hospital.stop()
            await asyncio.wait_for(sending, 60)
            assert served.running, "it recovered alone"
            await place.settled()
        assert set(hospital.codes) <= {"CA", "CE"}
        async with running(place.folder) as node:
            await asyncio.wait_for(node.settled(), 60)
            assert await account.violations(node, hospital.acknowledged) == []

    asyncio.run(run())
