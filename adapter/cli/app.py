"""The tree of verbs, and the one place where an exception becomes an exit code.

Verbs import their modules inside the command, so that `--help` does not load a web server.
Source: operations chapter §1.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli import db, feed, keys, ledger, map_, msg, run, subscription, token
from adapter.cli.console import OPTIONS, Exit, complain
from adapter.errors import ChartbridgeError
from ledger.errors import AppendFailed, IntegrityError, LedgerError, StorageError, VerificationError
from mappings.errors import MappingError

RETRY_MAY_HELP = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
# what to try where the error itself says nothing better
HINTS: dict[int, str] = {Exit.USAGE: "chartbridge --help", Exit.NOT_FOUND: "chartbridge --help"}

app = typer.Typer(
    name="chartbridge",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="FHIR interoperability middleware: HL7 v2 feeds in, sealed FHIR out, every step provable.",
)
run.add_to(app)
app.add_typer(feed.app, name="feed")
app.add_typer(msg.app, name="msg")
app.add_typer(map_.app, name="map")
app.add_typer(subscription.app, name="subscription")
app.add_typer(token.app, name="token")
app.add_typer(ledger.app, name="ledger")
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")


@app.callback()
def options(
    site: Annotated[Path | None, typer.Option(help="The site's folder; else CHARTBRIDGE_SITE, else upwards.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON, one object a line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    OPTIONS.site, OPTIONS.json, OPTIONS.quiet = site, as_json, quiet


def main() -> None:
    """Run a verb; end the process with its exit code."""
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: list[str]) -> int:
    """Run a verb and say how it ended, as a code of `Exit`."""
    try:
        result = app(_take_shared(arguments), standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        return Exit.INTERRUPTED
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        if str(exc):  # a group without a verb has shown its help
            complain(str(exc), "chartbridge --help")
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # the framework's answer to a reader that has gone
            return _unheard()
        raise
    except BrokenPipeError:
        return _unheard()
    except ChartbridgeError as exc:
        complain(exc.text, exc.hint or HINTS.get(exc.exit_code, "chartbridge doctor"))
        return exc.exit_code
    except (IntegrityError, VerificationError) as exc:
        complain(str(exc), "chartbridge doctor, which says what to restore")
        return Exit.INTEGRITY
    except (AppendFailed, StorageError) as exc:
        complain(str(exc), "chartbridge doctor")
        return Exit.UNAVAILABLE
    except (LedgerError, MappingError) as exc:
        complain(str(exc), "chartbridge doctor")
        return Exit.FAILED
    except OSError as exc:
        complain(exc.strerror or type(exc).__name__, "chartbridge doctor")
        return Exit.UNAVAILABLE if exc.errno in RETRY_MAY_HELP else Exit.FAILED
    return int(result or Exit.DONE)


def _unheard() -> int:
    """Nobody reads any more (`chartbridge msg list | head`): there is no one left to tell, and nothing failed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return Exit.DONE


def _take_shared(arguments: list[str]) -> list[str]:
    """`--json` and `--quiet` may stand anywhere; typer knows them before the verb only."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head = arguments[:end]
    shared = [flag for flag in ("--json", "--quiet") if flag in head]
    return [*shared, *(word for word in head if word not in shared), *arguments[end:]]
