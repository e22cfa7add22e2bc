"""The site's lock: one process at a time serves a site, or changes its stores.

The kernel gives it back when the process ends, however it ends; the file stays and means nothing by itself.
"""

import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from adapter.errors import Unavailable

LOCK = "lock"


def lock(folder: Path) -> Callable[[], None]:
    """Take the site for this process; what is returned gives it back. Raises Unavailable."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise Unavailable("another process serves this site", hint="stop it first") from exc
    return partial(os.close, descriptor)


def is_served(folder: Path) -> bool:
    """Whether a process holds the site."""
    if not (folder / LOCK).exists():
        return False
    descriptor = os.open(folder / LOCK, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
