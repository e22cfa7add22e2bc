"""A map run beside the resource it is for, when a rule must look at what the rows gave before it takes it in.

The trace of such a run is told about the resource itself, at the place where the facts went.
Source: design chapter HL7 v2 §13: the trace is the same rows, wherever they are run from.
"""

from collections.abc import Callable, Mapping

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json
from mappings.rows.trace import TraceStep

Moved = Callable[[str, str], None]


def run_apart(ctx: Assembly, builder: Builder, name: str, segment: Segment, kind: str = "") -> tuple[Json, Moved]:
    """(what the map's rows give for a segment, `moved(from, to)` that tells the trace where it went).

    What the rows put into `contained` goes into the resource itself. What they clear is cleared there.
    """
    apart = Builder.made(kind or builder.type, builder.id, builder.mode, segment, builder.group)
    apart.body = {}
    apart.ref = f"{builder.ref}#{segment.ordinal}.{name}"
    held = ctx.builder, ctx.clear, ctx.filled, ctx.seg, ctx.row
    ctx.run(ctx.profile.maps.rows[name], apart, segment)
    ctx.builder, ctx.clear, ctx.filled, ctx.seg, ctx.row = held
    builder.clear += apart.clear
    builder.sources.append(segment.ordinal)
    inside = builder.body.setdefault("contained", [])
    known = {each["id"] for each in inside}
    inside += [each for each in apart.body.pop("contained", ()) if each["id"] not in known]
    if not inside:
        del builder.body["contained"]

    def moved(before: str, after: str) -> None:
        retell(ctx, apart.ref, builder.ref, {before: after})

    return apart.body, moved


def retell(ctx: Assembly, before: str, after: str, moves: Mapping[str, str]) -> None:
    """Facts that a rule moved: the trace tells of them where they are now. `moves`: path there → path here."""
    if ctx.trace is None or not moves:
        return
    longest = sorted(moves, key=len, reverse=True)
    for number, step in enumerate(ctx.trace.steps):
        if step.resource == before:
            for path in longest:
                if step.path == path or step.path.startswith((f"{path}.", f"{path}[")):
                    told = moves[path] + step.path[len(path) :]
                    ctx.trace.steps[number] = TraceStep(step.row, step.source, after, told)
                    break
