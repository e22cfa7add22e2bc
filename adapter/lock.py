"""The site's locks: one process at a time serves a site as a whole, or changes its stores.

Roles in processes of their own share a lock beside it (`join`): they bind neither each other nor a whole node, and a
change of the stores waits for them, too (`alone`), as far as they run on this folder. The key files have a lock of
their own (`keys`), for they change while all of them run.

The kernel gives a lock back when the process ends, however it ends; the files stay and mean nothing by themselves.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from adapter.errors import Unavailable

LOCK, ROLES = "lock", "lock.roles"
# Who looks whether a site is served holds its lock for microseconds: nobody takes that for a process that serves.
LOOKS, LOOK_S = 5, 0.01
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def lock(folder: Path) -> Callable[[], None]:
    """Take the site for this process; what is returned gives it back. Raises Unavailable."""
    return _take(folder / LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)


def join(folder: Path) -> Callable[[], None]:
    """Be one of the roles of the site; what is returned ends it. Waits for who only looks."""
    return _take(folder / ROLES, fcntl.LOCK_SH)


def alone(folder: Path) -> Callable[[], None]:
    """Take the site when no role runs on it either. Raises Unavailable."""
    stack = ExitStack()
    stack.callback(lock(folder))
    try:
        stack.callback(_take(folder / ROLES, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except Unavailable:
        stack.close()
        raise
    return stack.close


def keys(file: Path) -> Callable[[], None]:
    """Change the key files that this lock stands beside; what is returned ends it. Raises Unavailable.

    On a file system without locks nobody is kept out.
    """
    return _take(file, fcntl.LOCK_EX | fcntl.LOCK_NB, "another process changes the keys", "try again", needed=False)


def is_served(folder: Path) -> bool:
    """Whether a process holds the site, or roles of it run."""
    return _is_held(folder / LOCK, fcntl.LOCK_SH) or _is_held(folder / ROLES, fcntl.LOCK_EX)


def _take(
    file: Path,
    how: int,
    text: str = "another process serves this site",
    hint: str = "stop it first",
    *,
    needed: bool = True,
) -> Callable[[], None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, how)
    except OSError as exc:
        if needed or exc.errno not in NO_LOCKS:
            os.close(descriptor)
            raise Unavailable(text, hint=hint) from exc
    return partial(os.close, descriptor)


def _is_held(file: Path, how: int) -> bool:
    if not file.exists():
        return False
    descriptor = os.open(file, os.O_RDWR)
    try:
        _lock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, how: int) -> None:
    """Raises OSError where another holds it longer than it takes to look."""
    for _ in range(LOOKS - 1):
        try:
            return fcntl.flock(descriptor, how)
        except BlockingIOError:
            time.sleep(LOOK_S)
    fcntl.flock(descriptor, how)
