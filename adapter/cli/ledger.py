"""`chartbridge ledger`: look at the log, prove an entry, export, verify, replay permits, check the store."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapter.cli.console import OPTIONS, Exit, emit, line, progress

if TYPE_CHECKING:
    from adapter.ledger_view import LogView
    from ledger.export import Period
    from ledger.kit import Disclosure
    from ledger.verify import Report

app = typer.Typer(no_args_is_help=True, help="The log: prove, export, verify, replay, check.")


@app.command()
def status() -> None:
    """Size, newest checkpoint, what is published, and the key that others verify with."""
    from dataclasses import asdict

    from adapter.ledger_view import status as read
    from adapter.ledger_view import viewing
    from adapter.settings import find_site

    async def run() -> dict[str, object]:
        async with viewing(find_site(OPTIONS.site)) as view:
            return asdict(await read(view))

    value = asyncio.run(run())
    value |= {"attested": "self", "anchored": False}
    emit("chartbridge.ledger.status/1", value, "\n".join(f"{name:<10}{found}" for name, found in value.items()))


@app.command()
def prove(
    ref: Annotated[str, typer.Argument(help="A reference, as X-Ledger-Index says: 2026:8123.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for proof, entry and policy; `ledger verify` takes the proof.")
    ] = None,
) -> None:
    """A receipt for one entry: inclusion proof and signed checkpoint, to be kept."""
    from adapter.ledger_view import sign_pending, viewing
    from adapter.settings import find_site
    from ledger.kit import ENTRY_SUFFIX, POLICY, PROOF_SUFFIX
    from ledger.policy import Policy

    folder = find_site(OPTIONS.site)

    async def run() -> tuple[str, bytes, str]:
        async with viewing(folder) as view:
            await view.entry(ref)
        await sign_pending(folder)
        async with viewing(folder) as view:
            proof, body = await view.receipt(ref)
            return str(proof), body, Policy((view.signer.vkey,)).text()

    proof, body, policy = asyncio.run(run())
    if out is None:
        emit("chartbridge.ledger.proof/1", {"ref": ref, "proof": proof, "entry": body.decode()}, proof.rstrip("\n"))
        return
    out.mkdir(parents=True, exist_ok=True)
    name = ref.replace(":", "-")
    (out / f"{name}{PROOF_SUFFIX}").write_text(proof, "utf-8")
    (out / f"{name}{ENTRY_SUFFIX}").write_bytes(body)
    (out / POLICY).write_text(policy)
    emit("chartbridge.ledger.proof/1", {"ref": ref, "file": f"{name}{PROOF_SUFFIX}"}, f"{name}{PROOF_SUFFIX} written")


@app.command()
def export(
    directory: Annotated[Path, typer.Option("--dir", help="An empty or new folder.")],
    since: Annotated[str, typer.Option(help="Entries from this time on: ISO, or 2h, 3d ago.")] = "",
    until: Annotated[str, typer.Option(help="Entries before this time.")] = "",
    disclose: Annotated[list[str] | None, typer.Option(help="Open all fields of this entry.")] = None,
    replayable: Annotated[
        bool,
        typer.Option("--replayable", help="Open what a recipient needs to replay every permit: no names, no reasons."),
    ] = False,
) -> None:
    """Write a folder from which anybody can verify the log with its public key."""
    from dataclasses import asdict

    from adapter.ledger_view import sign_pending, viewing
    from adapter.settings import find_site
    from ledger.export import Exported, ExportError
    from ledger.export import export as write

    folder = find_site(OPTIONS.site)

    async def run() -> Exported:
        await sign_pending(folder)
        async with viewing(folder) as view:
            period = await _period(view, since, until)
            openings = await _openings(view, disclose or [], replayable=replayable)
            return await write(view.log, view.signer, directory, period=period, disclosures=openings)

    try:
        done = asyncio.run(run())
    except ExportError as exc:
        from adapter.errors import UsageError

        raise UsageError(str(exc), hint="chartbridge ledger export --dir NEW-FOLDER") from exc
    text = f"entries {done.start} to {done.end} of {done.size} in {done.files} files"
    emit("chartbridge.ledger.export/1", {"dir": str(directory), **asdict(done)}, text)


async def _period(view: "LogView", since: str, until: str) -> "Period":
    from adapter.ledger_view import moment
    from ledger.export import Period, index_at

    start = await index_at(view.log, moment(since)) if since else 0
    return Period(start, await index_at(view.log, moment(until)) if until else None)


async def _openings(view: "LogView", refs: list[str], *, replayable: bool) -> "list[Disclosure]":
    if not refs and not replayable:
        return []
    from adapter.errors import NotFound
    from adapter.ledger_view import opener

    keys = await opener(view)
    found = await view.for_replay(keys) if replayable else []
    for ref in refs:
        opened = await keys.disclosures(await view.entry(ref), ref)
        if not opened:
            raise NotFound(f"{ref} opens nothing: it has no sealed detail, or it was erased")
        found += [one for one in opened if one not in found]
    return found


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A folder that `ledger export` wrote, or a .tlog-proof.")],
    vkey: Annotated[str, typer.Option(help="The log's public key, from a source of your own.")] = "",
    trust: Annotated[
        list[Path] | None, typer.Option(help="An older checkpoint or receipt that must still hold.")
    ] = None,
    entry: Annotated[Path | None, typer.Option(help="The entry of a receipt; else the file beside it.")] = None,
) -> int:
    """Verify an export or a receipt offline. Needs no site. Exit 0 verified, 7 failed, 9 cannot tell."""
    from adapter.errors import NotFound
    from ledger.verify import Trusted, verify_folder, verify_proof

    try:
        trusted = Trusted(vkey, {file.name: file.read_bytes() for file in trust or ()})
        if not path.exists():
            raise NotFound("nothing there to verify", hint="chartbridge ledger export --dir DIR")
        report = verify_folder(path, trusted) if path.is_dir() else verify_proof(path, trusted, entry)
    except OSError as exc:
        raise NotFound(f"cannot be read: {exc.strerror}") from exc
    _report(report)
    return int(report.exit_code)


def _report(report: "Report") -> None:
    checks = [{"check": one.name, "state": one.state, "found": one.found} for one in report.checks]
    emit("chartbridge.ledger.verify/1", {"verdict": report.verdict, "checks": checks}, str(report))


@app.command()
def replay() -> int:
    """Decide every permit in the log again, with the organisation's keys. Exit 7 where one was not justified."""
    from adapter.ledger_view import replay_site
    from adapter.settings import find_site
    from ledger.replay import Verdict

    done = asyncio.run(replay_site(find_site(OPTIONS.site)))
    counts = {verdict.value: done.count(verdict) for verdict in Verdict}
    wrong = [f"{done.shard}:{one.index}: {one.why}" for one in done.findings if one.verdict is Verdict.UNJUSTIFIED]
    refused = [f"{done.shard}:{index}: follows the end of its consent" for index in done.refused]
    value = {"entries": done.entries, "permits": len(done.findings), **counts, "lost": done.lost}
    text = [
        f"{len(done.findings)} permits in {done.entries} entries: " + ", ".join(f"{n} {v}" for v, n in counts.items())
    ]
    emit(
        "chartbridge.ledger.replay/1",
        {**value, "found": wrong, "faults": done.faults, "refused": refused},
        "\n".join([*text, *(f"unjustified {one}" for one in wrong), *done.faults, *refused]),
    )
    if wrong or done.faults:
        return Exit.INTEGRITY
    return Exit.CANNOT_TELL if done.lost else Exit.DONE


@app.command()
def fsck(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Delete sealed details that a crash left without an entry.")
    ] = False,
) -> int:
    """Check the stored log whole: entries, tree, checkpoints, published files, details. Changes nothing by itself."""
    from dataclasses import asdict

    from adapter.ledger_view import check_all, viewing
    from adapter.settings import find_site
    from ledger.fsck import Checked

    async def run() -> Checked:
        async with viewing(find_site(OPTIONS.site)) as view:
            return await check_all(view, sweep=sweep)

    done = asyncio.run(run())
    value = asdict(done)
    faults = value.pop("faults")
    if not OPTIONS.json:
        for fault in faults:
            line(f"fault: {fault}")
    value.pop("swept")
    shown = "\n".join(f"{name:<13}{count}" for name, count in value.items())
    emit("chartbridge.ledger.fsck/1", {**asdict(done)}, f"{shown}\n{'whole' if not faults else 'NOT WHOLE'}")
    if done.orphans and not sweep:
        progress("details without an entry were left by a crash: chartbridge ledger fsck --sweep deletes them")
    return Exit.INTEGRITY if faults else Exit.DONE
