"""`chartbridge db`: at which migration each store of a site is, and the way to this version's.

Upgrading: 1 the site's lock, so that neither a `serve` nor a second upgrade runs · 2 every store is held against the
site before one is touched · 3 the journal, in one transaction: what it gains lies beside what was there, so that the
version before goes on working · 4 the data store, in one transaction. A process that dies anywhere leaves each store at
its old version or at the new one, and the next upgrade goes on from there. No store is ever taken back to an older one.

Vault and log have had one form so far, and are compared with it.
Source: operations chapter §1, fault F31.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapter import journals
from adapter.crash import crash_point
from adapter.data_place import data_place
from adapter.errors import ChartbridgeError, IntegrityFault, Unavailable
from adapter.ledger_stores import check_log, check_vault
from adapter.lock import alone
from adapter.settings import Settings, load
from adapter.store.engine import RESTORE, UPGRADE, DataStore, Place, check_known
from adapter.store.loop_thread import run_apart
from adapter.store.migrating import missing
from adapter.store.tables import REVISION
from ledger.errors import IntegrityError, LedgerError

ONLY = "0001"
PARTS = "Places of messages that came together"


@dataclass(frozen=True, slots=True)
class Stand:
    """One store: the migration it is at ("" where that cannot be told), the one it needs, what is between them.

    `fault` is why it cannot be used nor upgraded.
    """

    store: str
    found: str
    needs: str
    missing: tuple[str, ...] = ()
    fault: ChartbridgeError | None = None

    @property
    def state(self) -> str:
        return "fault" if self.fault else "current" if self.found == self.needs else "old"

    @property
    def hint(self) -> str:
        return self.fault.hint if self.fault else UPGRADE if self.state == "old" else ""

    @property
    def exit_code(self) -> int:
        """What a start would end with."""
        return self.fault.exit_code if self.fault else 3 if self.state == "old" else 0


def check(folder: Path) -> list[Stand]:
    """Where each store stands. Changes nothing, and may be asked beside a `serve`."""
    return list(_stands(folder, load(folder)))


def upgrade(folder: Path, tell: Callable[[str], None] = lambda text: None, *, dry_run: bool = False) -> list[Stand]:
    """Bring the stores to this version; how they stood before. `tell` hears of each one before it is touched.

    With `dry_run` nothing is changed, and a `serve` may run. Raises Unavailable (the site is served, no room),
    IntegrityFault, ConfigurationError (a later version's store).
    """
    settings = load(folder)
    with ExitStack() as stack:
        if not dry_run:
            stack.callback(alone(folder))  # step 1
        before = list(_stands(folder, settings))  # step 2
        for stand in before:
            if stand.fault is not None:
                raise stand.fault
        for stand in before:  # steps 3 and 4
            if stand.state == "old" and not dry_run:
                tell(f"{stand.store}: {stand.found} → {stand.needs}")
                _UPGRADES[stand.store](folder, settings)
                crash_point(f"upgraded.{stand.store}")
    return before


def _stands(folder: Path, settings: Settings) -> Iterator[Stand]:
    pairing = settings.node.pairing
    yield _stand("journal", journals.needed_by(settings), lambda: _journal(folder, settings))
    yield _stand("data", REVISION, lambda: _data(data_place(folder, settings), pairing))
    yield _stand("vault", ONLY, lambda: _form(check_vault(folder, settings)))
    yield _stand("log", ONLY, lambda: _form(check_log(folder, settings)))


def _stand(store: str, needs: str, look: Callable[[], Stand]) -> Stand:
    try:
        return replace(look(), store=store, needs=needs)
    except ChartbridgeError as exc:
        return Stand(store, "", needs, fault=exc)
    except IntegrityError as exc:
        return Stand(store, "", needs, fault=IntegrityFault(str(exc), hint=RESTORE))
    except LedgerError as exc:
        return Stand(store, "", needs, fault=Unavailable(str(exc), hint="chartbridge doctor"))


def _journal(folder: Path, settings: Settings) -> Stand:
    place = journals.journal_place(folder, settings)
    found = journals.revision(place, settings.node.pairing)
    return Stand("", found, "", () if found == journals.needed_by(settings) else (PARTS,))


def _data(place: Place, pairing: str) -> Stand:
    found = DataStore.revision(place, pairing)
    check_known("the data store", found, REVISION)
    return Stand("", found, "", tuple(one.brings for one in missing(found)))


def _form(look: Coroutine[Any, Any, None]) -> Stand:
    """A store that has had one form."""
    run_apart(look)
    return Stand("", ONLY, "")


def _upgrade_journal(folder: Path, settings: Settings) -> None:
    journals.upgrade(journals.journal_place(folder, settings), settings.node.pairing)


def _upgrade_data(folder: Path, settings: Settings) -> None:
    DataStore.upgrade(data_place(folder, settings), settings.node.pairing)


_UPGRADES: dict[str, Callable[[Path, Settings], None]] = {"journal": _upgrade_journal, "data": _upgrade_data}
