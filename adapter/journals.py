"""Which journal a site has, by its settings: a file of its own, or tables in the database of its data store.

A place is asked here, and nowhere else, which of the two it is; the driver of the database is loaded only for one.
Source: operations chapter §4 (journal).
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from adapter.data_place import data_place
from adapter.errors import ConfigurationError
from adapter.inbound import journal_table
from adapter.inbound.journal import Journal, JournalReader
from adapter.inbound.journal_file import FileJournal, FileSource
from adapter.settings import Settings
from adapter.store.place import Place

if TYPE_CHECKING:
    from adapter.site import Site

DATABASE = "database"


def journal_place(folder: Path, settings: Settings) -> Place:
    """Raises ConfigurationError for a database that the settings do not name."""
    if settings.store.journal_place != DATABASE:
        return folder / settings.store.journal
    place = data_place(folder, settings)
    if isinstance(place, Path):
        text = "the journal is to lie in the data store's database, and there is none"
        raise ConfigurationError(text, hint="set store.url_file")
    return place


def create(place: Place, pairing: str) -> None:
    """A new journal, once, by `init`: after the data store. Raises IntegrityFault, ConfigurationError."""
    if isinstance(place, Path):
        journal_table.create(place, pairing)
    else:
        from adapter.inbound import journal_postgres

        journal_postgres.create(place)


def needed_by(settings: Settings) -> str:
    """The migration that this program needs such a site's journal to be at."""
    if settings.store.journal_place != DATABASE:
        return journal_table.REVISION
    from adapter.inbound import journal_postgres

    return journal_postgres.REVISION


def revision(place: Place, pairing: str) -> str:
    """The migration that a journal is at. Raises IntegrityFault, Unavailable."""
    if isinstance(place, Path):
        return journal_table.revision(place, pairing)
    from adapter.inbound import journal_postgres

    return journal_postgres.revision(place, pairing)


def upgrade(place: Place, pairing: str) -> None:
    """Bring a journal to what this code needs: whole, or not at all. The site's lock is the caller's."""
    if isinstance(place, Path):
        journal_table.upgrade(place, pairing)
    else:
        from adapter.inbound import journal_postgres

        journal_postgres.upgrade(place, pairing)


def newest(place: Place, pairing: str) -> int:
    """The highest number ever given. Raises IntegrityFault, ConfigurationError, Unavailable."""
    if isinstance(place, Path):
        with closing(journal_table.connect(place, pairing, read_only=True)) as connection:
            return journal_table.last_seq(connection)
    from adapter.inbound import journal_postgres

    return journal_postgres.newest(place, pairing)


def reader(site: "Site", readers: int = 1) -> JournalReader:
    """For whoever does not receive."""
    place = journal_place(site.folder, site.settings)
    if isinstance(place, Path):
        return JournalReader(FileSource(place, site.settings.node.pairing, readers), site.keyring)
    from adapter.inbound.journal_postgres import StoreSource

    return JournalReader(StoreSource(site.store), site.keyring)


async def writer(site: "Site", lost: Callable[[str], None]) -> Journal:
    """For whoever receives, before its `start`. `lost` hears that a file cannot be relied on any more."""
    place = journal_place(site.folder, site.settings)
    if isinstance(place, Path):
        return FileJournal(place, site.settings.node.pairing, site.keyring, lost=lost)
    from adapter.inbound.journal_postgres import PostgresJournal

    return await PostgresJournal.open(place, site.settings.node.pairing, site.store, site.keyring)
