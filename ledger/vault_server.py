"""The vault on a PostgreSQL server, in a database of its own: its tables there, made once and opened.

Triggers keep the row of a subject and refuse a key for a destroyed one, as in the file. Source: ledger chapter §9.
"""

from ledger.clock import Clock, utc_now
from ledger.store.base import Step, no_step
from ledger.store.server import Connection, Server, check_belongs, check_form, create_database, failures
from ledger.store.server_tables import ServerTables
from ledger.vault import KIND, Vault, VaultError

SCHEMA = """
CREATE TABLE subject(
  org text NOT NULL, "row" bigint NOT NULL, gen int NOT NULL, wrapped bytea, kek_id text NOT NULL, destroyed_at bigint,
  PRIMARY KEY (org, "row", gen), CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE TABLE org_key(
  org text NOT NULL, kind text NOT NULL, "row" bigint NOT NULL, gen int NOT NULL, wrapped bytea NOT NULL,
  kek_id text NOT NULL, PRIMARY KEY (org, kind)
);
CREATE TABLE message_key(
  key_id bytea PRIMARY KEY, org text NOT NULL, wrapped bytea NOT NULL, kek_id text NOT NULL, at bigint NOT NULL
);
CREATE TABLE detail(
  rowid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id bytea NOT NULL UNIQUE, subject bigint NOT NULL,
  at bigint NOT NULL, sealed bytea NOT NULL
);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER stays BEFORE DELETE ON subject FOR EACH ROW EXECUTE FUNCTION refuse('a subject row stays');
CREATE TRIGGER stays_whole BEFORE TRUNCATE ON subject EXECUTE FUNCTION refuse('a subject row stays');
CREATE TRIGGER destroyed BEFORE UPDATE ON subject FOR EACH ROW WHEN (old.destroyed_at IS NOT NULL)
  EXECUTE FUNCTION refuse('a destroyed subject row is never given a key again');
"""
COLUMNS = (
    *("meta.key text", "meta.value text", "subject.org text", "subject.row bigint", "subject.gen integer"),
    *("subject.wrapped bytea", "subject.kek_id text", "subject.destroyed_at bigint", "org_key.org text"),
    *("org_key.kind text", "org_key.row bigint", "org_key.gen integer", "org_key.wrapped bytea", "org_key.kek_id text"),
    *("message_key.key_id bytea", "message_key.org text", "message_key.wrapped bytea", "message_key.kek_id text"),
    *("message_key.at bigint", "detail.rowid bigint", "detail.id bytea", "detail.subject bigint", "detail.at bigint"),
    "detail.sealed bytea",
)
GUARDS = ("subject.stays", "subject.stays_whole", "subject.destroyed")


async def create_vault(server: Server, pairing: str) -> None:
    """A vault in an empty database, once, by `init`. Raises IntegrityError for one that has tables."""

    async def first(connection: Connection) -> None: ...

    with failures(KIND, VaultError):
        await create_database(server, KIND, SCHEMA, {"pairing": pairing}, first)


async def open_vault(server: Server, pairing: str, clock: Clock = utc_now, step: Step = no_step) -> Vault:
    """The vault of this node. Raises IntegrityError where it is missing, empty or another's.

    `server` closes with it; where this raises, it is the caller's to close.
    """
    with failures(KIND, VaultError):
        await check_belongs(server, KIND, pairing)
    return Vault(ServerTables(server, KIND, VaultError), clock, step)


async def check_vault(server: Server, pairing: str) -> None:
    """Raises IntegrityError for a database that is not this node's vault, or not as this version makes it."""
    with failures(KIND, VaultError):
        await check_belongs(server, KIND, pairing)
        await check_form(server, KIND, COLUMNS, GUARDS)
