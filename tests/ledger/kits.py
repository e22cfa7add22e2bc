"""A log with consents, reads and policies, exported as a kit; and both verifiers over a folder."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger import verify_standalone
from ledger.commitment import SubjectKey
from ledger.event import Event
from ledger.export import Exported, Period, export
from ledger.kit import Disclosure, disclose
from ledger.log import Ledger
from ledger.policy import Policy
from ledger.store.memory import MemoryLogStore
from ledger.vault import memory_vault
from ledger.verify import Report, Trusted, verify_folder, verify_proof
from tests.ledger.conftest import ORG, PATIENT, SIGNER, Ticking, an_id, consent, ledger_of, policy, read, retirement

REPLAYED = ("basis", "subject", "handle", "nb", "exp")


@dataclass
class Log:
    """A ledger in memory, and what was put into it: index → event."""

    ledger: Ledger
    store: MemoryLogStore
    clock: Ticking
    events: dict[int, Event] = field(default_factory=dict)

    async def add(self, *events: Event) -> str:
        """Append one batch; the reference of its last entry."""
        self.clock.pass_(1)
        receipts = await self.ledger.append(events)
        for receipt, event in zip(receipts, events, strict=True):
            self.events[receipt.index] = event
        return str(receipts[-1])

    async def fill(self, count: int) -> None:
        """Reads under the house rule, which nobody opens."""
        for start in range(0, count, 1_000):
            await self.add(*[read() for _ in range(start, min(start + 1_000, count))])

    def opened(self, *fields: str) -> list[Disclosure]:
        """The openings of these fields of all entries."""
        found: list[Disclosure] = []
        for index, event in self.events.items():
            values = {name: value for name, value in event.secret.items() if name in fields}
            if event.subject_key is not None:
                found += disclose(event.subject_key, f"2026:{index}", event.id, values)
        return found

    async def export(self, folder: Path, fields: Sequence[str] = (), period: Period | None = None) -> Exported:
        await self.ledger.integrate()
        return await export(self.store, SIGNER, folder, period=period, disclosures=self.opened(*fields))


async def new_log() -> Log:
    store, clock = MemoryLogStore(), Ticking()
    log = Log(ledger_of(store, memory_vault(clock), clock), store, clock)
    await log.ledger.start()
    await log.add(policy())
    return log


async def story(count: int = 600) -> Log:
    """A policy, a consent granted, used, amended, used, revoked; the policy retired; many reads before."""
    log = await new_log()
    await log.fill(count)
    granted = await log.add(consent("granted", epoch=2))
    await log.add(read(basis=granted, epoch=2))
    amended = await log.add(consent("amended", epoch=3, ends=[granted]))
    await log.add(read(basis=amended, epoch=3))
    await log.add(consent("revoked", epoch=4, ends=[amended]))
    await log.add(denied())
    await log.add(retirement("2026:0"), policy("deny"))
    return log


def denied(key: SubjectKey = PATIENT) -> Event:
    secret = {"actor": "u-41", "subject": f"o-{key.row}", "purpose": "TREAT"}
    return Event("access.denied", an_id(), ORG, "deny", key, {"count": 3, "window_s": 60}, secret, b"{}")


def standalone(*arguments: str | Path) -> tuple[int, str]:
    """`verify_standalone.py` in a Python that knows nothing of this project."""
    command = [sys.executable, "-I", "-S", verify_standalone.__file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.stderr == ""
    return done.returncode, done.stdout


def both(path: Path, vkey: str = "", trust: Sequence[Path] = ()) -> Report:
    """Verify with both programs, which must say the same word for word; the report."""
    trusted = Trusted(vkey, {file.name: file.read_bytes() for file in trust})
    report = verify_folder(path, trusted) if path.is_dir() else verify_proof(path, trusted)
    flags = [*(["--vkey", vkey] if vkey else []), *(word for file in trust for word in ("--trust", str(file)))]
    code, printed = standalone(path, *flags)
    assert printed == f"{report}\n"
    assert code == report.exit_code
    return report


def states(report: Report) -> dict[str, str]:
    return {check.name: check.state for check in report.checks}


def as_json(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(standalone(path, "--json")[1])
    return found


def self_attested() -> str:
    return Policy((SIGNER.vkey,)).text()
