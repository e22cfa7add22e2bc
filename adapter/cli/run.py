"""The verbs that stand alone: init, serve, demo, convert, send, doctor, bench, version."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapter.cli.console import OPTIONS, Exit, complain, emit, emit_list, progress

if TYPE_CHECKING:
    from adapter.write_files import WrittenFile


def add_to(app: typer.Typer) -> None:
    """Register the verbs on the root."""
    for verb in (init, serve, demo, convert, send, doctor, bench, version):
        app.command()(verb)


def init(
    folder: Annotated[Path, typer.Argument(help="The new site's folder.")],
    org: Annotated[str, typer.Option(help="Short name of the organisation.")] = "hospital",
    name: Annotated[str, typer.Option(help="Its name as people read it.")] = "Hospital",
    store_url_file: Annotated[
        Path | None, typer.Option(help="File with the URL of an empty PostgreSQL database for the data store.")
    ] = None,
    ledger_url_file: Annotated[
        Path | None, typer.Option(help="File with the URL of an empty PostgreSQL database for the log.")
    ] = None,
    vault_url_file: Annotated[
        Path | None, typer.Option(help="File with the URL of an empty PostgreSQL database for the vault alone.")
    ] = None,
) -> None:
    """Make a new site: configuration, generated keys, empty stores, one feed, one client."""
    from adapter.site import create

    files = {"store": store_url_file, "ledger": ledger_url_file, "vault": vault_url_file}
    site = create(folder, org=org, name=name, url_files=files)
    emit("chartbridge.init/1", {"site": str(site)}, f"site made in {site}\nnext: chartbridge --site {site} serve")


def serve(
    role: Annotated[
        str, typer.Option(help="Only this of it, in a process beside others: api, mllp, worker, anchor.")
    ] = "",
) -> None:
    """Run all roles in this process: listeners, API, workers, checkpoints; or one of them."""
    from adapter.errors import UsageError
    from adapter.roles import Role
    from adapter.serve import run
    from adapter.settings import find_site

    if role and role not in list(Role):
        raise UsageError(f"no role {role}", hint=f"--role {', '.join(Role)}")
    run(find_site(OPTIONS.site), role=Role(role) if role else None)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until interrupted.")] = False,
) -> int:
    """The whole job on invented samples, in a temporary folder, without a network."""
    from adapter.demo import run

    return run(keep=keep)


def convert(
    files: Annotated[list[Path], typer.Argument(help="HL7 v2 or CDA files, or folders of them; with --to FHIR files.")],
    out: Annotated[Path, typer.Option(help="Folder for the Bundles, or the messages.")],
    profile: Annotated[str, typer.Option(help="Name of a shipped profile, or a profile folder.")] = "default",
    bundle: Annotated[
        str,
        typer.Option(help="transaction, message, document or collection; else document for CDA, transaction for v2."),
    ] = "",
    to: Annotated[str, typer.Option(help="Write from FHIR: ADT^A08, ORU^R01, MDM^T02; ccd or ehdsi-ps for CDA.")] = "",
    receiver: Annotated[Path | None, typer.Option(help="Who gets the messages: a TOML file.")] = None,
) -> int:
    """Convert files to FHIR Bundles, or FHIR files to HL7 v2 messages or CDA documents, with no store."""
    if to or receiver is not None:
        return _write(files, out, to, receiver, profile)
    from adapter.convert_files import convert_file, plan
    from adapter.errors import UsageError
    from adapter.profiles import read_profile
    from adapter.site import now
    from mappings.bundle import KINDS

    kind = next((known for known in KINDS if known == bundle), None)
    if bundle and kind is None:
        raise UsageError(f"no kind of Bundle {bundle}", hint=", ".join(KINDS))
    pairs, left_out = plan(files, out)
    loaded = read_profile(profile)
    _tell(left_out, "neither a message nor a document")
    taken = frozenset(target for _, target in pairs)
    done = [one for source, target in pairs for one in convert_file(source, target, loaded, kind, taken, now())]
    for result in done:
        if result.failure:
            complain(f"{result.name}: {result.failure}")
        for issue in result.issues:
            progress(f"{result.name}: {issue}")
    emit_list(
        "chartbridge.convert/1",
        [{"file": r.name, "resources": r.resources, "issues": len(r.issues), "error": r.failure} for r in done],
        ("file", "resources", "issues", "error"),
    )
    failed = sum(bool(result.failure) for result in done)
    return Exit.DONE if not failed else Exit.FAILED if failed == len(done) else Exit.PARTLY


def _write(files: list[Path], out: Path, to: str, receiver: Path | None, profile: str) -> int:
    """`convert --to`: FHIR files to HL7 v2 messages or CDA documents."""
    from adapter.convert_files import plan
    from adapter.errors import UsageError
    from adapter.profiles import read_profile
    from adapter.site import now
    from adapter.write_files import write_document, write_file
    from mappings.cda.write import KINDS
    from mappings.hl7v2.out import OutboundError, Receiver, messages, read_receiver

    kind = next((known for known in KINDS if known == to), None)
    if kind is None and to not in messages():
        raise UsageError(f"no message {to or 'named'}", hint=f"--to {', '.join([*messages(), *KINDS])}")
    if kind is not None:
        if receiver is not None:
            raise UsageError("a document has no receiver", hint="--profile says under which names it is written")
        used = read_profile(profile)
        pairs, left_out = plan(files, out, ".xml")
        _tell(left_out, "no FHIR")
        return _report([write_document(source, target, kind, used) for source, target in pairs], "entries")
    try:
        found = read_receiver(receiver) if receiver is not None else Receiver.of(read_profile(profile))
    except OutboundError as exc:
        raise UsageError(str(exc)) from exc
    pairs, left_out = plan(files, out, ".hl7")
    _tell(left_out, "no FHIR")
    return _report([write_file(source, target, to, found, now()) for source, target in pairs], "segments")


def _tell(left_out: list[Path], what: str) -> None:
    """Files of folders that nobody can have meant."""
    for file in left_out:
        progress(f"{file}: left out, {what}")


def _report(done: "list[WrittenFile]", parts: str) -> int:
    """What became of each file; `parts` is what its size is counted in."""
    for one in done:
        if one.failure:
            complain(f"{one.source}: {one.failure}")
        for line in (*one.issues, *(f"not carried {path}" for path in one.left), *one.findings):
            progress(f"{one.source}: {line}")
    rows = [
        {"file": str(one.source), parts: one.segments, "issues": len(one.issues), "not carried": len(one.left),
         "error": one.failure}
        for one in done
    ]  # fmt: skip
    emit_list("chartbridge.write/1", rows, ("file", parts, "issues", "not carried", "error"))
    failed = sum(bool(one.failure) for one in done)
    return Exit.DONE if not failed else Exit.FAILED if failed == len(done) else Exit.PARTLY


def send(
    files: Annotated[list[Path], typer.Argument(help="HL7 v2 files, or folders of *.hl7.")],
    host: Annotated[str, typer.Option(help="The listener's host.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The listener's port.")] = 2575,
    connections: Annotated[int, typer.Option(min=1, help="Connections at the same time.")] = 1,
    rate: Annotated[float, typer.Option(min=0, help="Messages a second; 0: as fast as they are answered.")] = 0.0,
    repeat: Annotated[int, typer.Option(min=1, help="How often to send all of them.")] = 1,
    renumber: Annotated[bool, typer.Option("--renumber", help="A control id of its own for each one sent.")] = False,
) -> int:
    """Send messages over MLLP and report the ACKs: simulator and load generator."""
    from adapter.sender import read_messages, send_many

    messages = read_messages(files)
    report = asyncio.run(
        send_many(host, port, messages, connections=connections, rate=rate, repeat=repeat, renumber=renumber)
    )
    rate_seen = report.sent / report.seconds if report.seconds else 0.0
    result = {
        "sent": report.sent,
        "seconds": round(report.seconds, 3),
        "per_second": round(rate_seen, 1),
        "p50_ms": round(report.percentile(0.5) * 1000, 2),
        "p99_ms": round(report.percentile(0.99) * 1000, 2),
        "acks": dict(report.acks),
        "failures": dict(report.failures),
    }
    emit("chartbridge.send/1", result, "\n".join(f"{key:<11}{value}" for key, value in result.items()))
    if report.failures:
        return Exit.PARTLY if report.sent else Exit.UNAVAILABLE
    return Exit.DONE if set(report.acks) <= {"AA", "CA"} else Exit.PARTLY


def doctor() -> int:
    """Check configuration, secrets, stores, keys and log; say what to do about each fault."""
    from adapter.doctor import examine
    from adapter.settings import find_site

    findings = examine(find_site(OPTIONS.site))
    rows = [{"state": f.state, "check": f.check, "found": f.found, "try": f.hint} for f in findings]
    emit_list("chartbridge.doctor/1", rows, ("state", "check", "found", "try"))
    return max((finding.exit_code for finding in findings), default=Exit.DONE)


def bench(
    only: Annotated[str, typer.Option(help="Part of a benchmark's name.")] = "",
    seconds: Annotated[float, typer.Option(min=0.2, help="Time for each measurement.")] = 3.0,
    size: Annotated[int, typer.Option(min=2_500, help="Resources of the site that the API is asked about.")] = 24_000,
) -> None:
    """Measure the hot paths, each beside a probe taken in the same run."""
    from adapter.bench import run

    run(only=only, seconds=seconds, size=size)


def version() -> None:
    """The versions of the program, of Python, of the FHIR definitions, and whether the hot path is compiled."""
    import platform

    from adapter import __version__
    from adapter.compiled import is_compiled

    python, fhir, compiled = platform.python_version(), "4.0.1", is_compiled()
    value = {"version": __version__, "python": python, "fhir": fhir, "compiled": compiled}
    how = ", compiled" if compiled else ""
    emit("chartbridge.version/1", value, f"chartbridge {__version__} (Python {python}, FHIR {fhir}{how})")
