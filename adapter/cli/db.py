"""`chartbridge db`: the versions of a site's stores, and the way to this program's."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli.console import OPTIONS, Exit, emit_list, progress

if TYPE_CHECKING:
    from adapter.upgrade import Stand

app = typer.Typer(no_args_is_help=True, help="The stores of a site: which version each has, and upgrading them.")


@app.command()
def check() -> int:
    """At which version each store is, and which one this program needs. Changes nothing."""
    from adapter.settings import find_site
    from adapter.upgrade import check as look

    stands = look(find_site(OPTIONS.site))
    rows = [
        {"store": one.store, "version": one.found, "needs": one.needs, "state": one.state, "found": _fault(one)}
        | {"try": one.hint}
        for one in stands
    ]
    emit_list("chartbridge.db.check/1", rows, ("store", "version", "needs", "state", "found", "try"))
    return max((one.exit_code for one in stands), default=Exit.DONE)


@app.command()
def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
) -> None:
    """Bring the stores to this program's version. Refused while `serve` runs; a killed one is run again."""
    from adapter.settings import find_site
    from adapter.upgrade import upgrade as bring

    before = bring(find_site(OPTIONS.site), progress, dry_run=dry_run)
    did = "would be upgraded" if dry_run else "upgraded"
    emit_list(
        "chartbridge.db.upgrade/1", [_moved(one, did) for one in before], ("store", "from", "to", "state", "brings")
    )


def _moved(stand: "Stand", did: str) -> dict[str, Any]:
    state = did if stand.state == "old" else "current"
    brings: Any = list(stand.missing) if OPTIONS.json else "; ".join(stand.missing)
    return {"store": stand.store, "from": stand.found, "to": stand.needs, "state": state, "brings": brings}


def _fault(stand: "Stand") -> str:
    return "" if stand.fault is None else stand.fault.text
