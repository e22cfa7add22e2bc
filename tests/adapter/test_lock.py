"""Who holds a site, and that looking whether somebody does is not holding it."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapter import lock
from adapter.errors import Unavailable


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOOK_S", 0.2)


@contextmanager
def looking(file: Path) -> Iterator[threading.Thread]:
    """Another process looks, at the worst moment: for longer than one ever does, shorter than five looks of ours."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    ends = threading.Timer(0.1, os.close, [descriptor])
    ends.start()
    yield ends
    ends.join()


@pytest.mark.parametrize("name", [lock.LOCK, lock.ROLES])
def test_who_looks_is_not_taken_for_who_serves(tmp_path: Path, name: str) -> None:
    with looking(tmp_path / name):
        assert not lock.is_served(tmp_path)


def test_who_looks_keeps_nobody_from_serving(tmp_path: Path) -> None:
    for take in (lock.lock, lock.alone):
        with looking(tmp_path / lock.LOCK):
            take(tmp_path)()


def test_roles_bind_neither_each_other_nor_a_node_but_a_change_of_the_stores(tmp_path: Path) -> None:
    assert not lock.is_served(tmp_path)
    first, second = lock.join(tmp_path), lock.join(tmp_path)
    lock.lock(tmp_path)()
    for end in (first, second):
        assert lock.is_served(tmp_path)
        with pytest.raises(Unavailable):
            lock.alone(tmp_path)
        end()
    assert not lock.is_served(tmp_path)
    end = lock.alone(tmp_path)
    for take in (lock.lock, lock.alone):
        with pytest.raises(Unavailable):
            take(tmp_path)
    end()


def test_key_files_are_changed_by_one_process_at_a_time(tmp_path: Path) -> None:
    end = lock.keys(tmp_path / ".kek.lock")
    with pytest.raises(Unavailable, match="changes the keys"):
        lock.keys(tmp_path / ".kek.lock")
    end()
    lock.keys(tmp_path / ".kek.lock")()


def test_a_file_system_without_locks_keeps_nobody_from_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    lock.keys(tmp_path / ".kek.lock")()
    with pytest.raises(Unavailable):
        lock.lock(tmp_path)
