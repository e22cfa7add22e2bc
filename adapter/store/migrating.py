"""The data store's migrations, in order, and how they are run.

All that are missing run in one transaction, the number of the last among them: a process that dies on the way leaves a
file that was never touched, and the next one starts over. That transaction is the caller's. SQLite can undo every
statement of a schema, but its driver begins nothing by itself here (`engine.py`), and alembic, where SQLAlchemy has
begun nothing either, would commit its own table first.

Source: operations chapter §1 (`db upgrade`), fault F31.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, event

from adapter.crash import crash_point
from adapter.errors import IntegrityFault
from adapter.store.tables import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

logging.getLogger("alembic").addHandler(logging.NullHandler())


class Migration(NamedTuple):
    """One migration: its number, and what it brings."""

    revision: str
    brings: str


def upgrade(conn: Connection, to: str = REVISION) -> None:
    """Bring a database to a migration, within the transaction that the caller has begun. Run again, it does nothing.

    Raises IntegrityFault for a database at a migration that there never was.
    """
    from alembic import command  # a tenth of a second of imports that only `init` and `db` need

    if not conn.in_transaction():
        conn.begin()
    event.listen(conn, "after_cursor_execute", lambda *told: crash_point("migrate.statement"))
    config = _config()
    config.attributes["connection"] = conn
    with _known():
        command.upgrade(config, to)


def missing(found: str) -> list[Migration]:
    """What lies between a migration and this code's, oldest first. Raises IntegrityFault as `upgrade` does."""
    from alembic.script import ScriptDirectory

    with _known():
        scripts = [*ScriptDirectory.from_config(_config()).walk_revisions(base=found, head=REVISION)]
    return [Migration(one.revision, (one.doc or "").rstrip(".")) for one in scripts if one.revision != found][::-1]


@contextmanager
def _known() -> Iterator[None]:
    from alembic.util import CommandError

    try:
        yield
    except CommandError as exc:
        text = "the data store is at a migration that there never was"
        raise IntegrityFault(text, hint="restore it from a backup; nothing was changed") from exc


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "adapter.store:migrations")
    return config
