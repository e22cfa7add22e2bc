"""The figures of the HL7 v2 and the CDA mapping, each measured here and now: `make figures`, or

    python -m tools.figures --corpus DIR [--lost] [--check]

DIR is a corpus folder that holds `hl7v2/messages` and, where another converter's Bundles are known, `hl7v2/expected`.
Without a corpus its figures are left out and the output says so.
`--lost` lists what is not carried over, by field and by path; `--check` exits 1 where a goal is missed.

What a figure means stands with the code that takes it: `explain.py` (rows fired, unmapped places), `crosswalk.py`
(guide rows), `facts.py` (facts and contradictions), `validate.py` (the compiled schema). The official validator is
asked about documents, where it is at hand (`cda_figures.py`); about messages a test asks it. Source: design chapter
HL7 v2 §16.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mappings.convert import Profile, load_profile, to_fhir
from mappings.errors import MappingError
from mappings.fhir.validate import validate
from mappings.hl7v2 import explain
from tools import cda_figures, crosswalk, facts

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus"))
SAMPLES = ROOT / "samples" / "hl7v2"

MOST_COMPILE_MS = 200
LEAST_GUIDE = 0.90
LEAST_RECALL = 0.95
_TIMED = (
    "import time; t = time.perf_counter(); from mappings.convert import load_profile; "
    "i = time.perf_counter(); load_profile('default'); print(i - t, time.perf_counter() - i)"
)


class Report:
    """Lines as they are found; `missed` counts goals that were not reached."""

    def __init__(self) -> None:
        self.missed = 0

    def head(self, text: str) -> None:
        print(f"\n{text}")  # noqa: T201

    def line(self, name: str, value: object, goal: str = "", met: bool = True) -> None:
        if not met:
            self.missed += 1
        verdict = f"   goal {goal}: {'met' if met else 'MISSED'}" if goal else ""
        print(f"  {name:<44} {value}{verdict}")  # noqa: T201


def rows_fired(report: Report, profile: Profile) -> None:
    """Rows that the fixtures fire."""
    found = explain.coverage([path.read_bytes() for path in sorted(SAMPLES.glob("*.hl7"))], profile)
    total = len(found.fired & set(profile.maps.table)) + len(found.silent)
    report.head("Rows")
    report.line("rows that some sample fires", f"{total - len(found.silent)} of {total}", "all", not found.silent)
    for row in found.silent:
        report.line("  silent", row.id)


def guide_rows(report: Report) -> None:
    """What became of the guide's rows, of those that have a FHIR target."""
    lines = [line for line in crosswalk.read() if line.sheet]
    report.head("Rows of the HL7 v2-to-FHIR guide")
    report.line("rows of its ready sheets", len(lines))
    kinds = crosswalk.kinds(lines)
    for kind, of_kind in kinds.items():
        counts = Counter(line.status for line in of_kind if line.target or line.row == "*")
        report.line(f"{kind}, with a target", ", ".join(f"{counts[status]} {status}" for status in crosswalk.STATUSES))
    wanted = Counter(line.status for line in lines if line.target)
    share = (wanted["done"] + wanted["deviated"]) / max(wanted.total(), 1)
    report.line("done or deviated with a reason", f"{share:.1%}", f"{LEAST_GUIDE:.0%}", share >= LEAST_GUIDE)
    open_ = sum(line.status == "todo" for line in kinds.get("message", ()))
    report.line("to do in the structures the guide maps", open_, "none", not open_)


def corpus(report: Report, folder: Path, profile: Profile) -> None:
    """Every message of a folder: converted, valid, and what of it became nothing."""
    messages = sorted((folder / "messages").glob("*.hl7"))
    refused, resources, invalid = 0, 0, 0
    unmapped: Counter[tuple[str, str]] = Counter()
    for path in messages:
        data = path.read_bytes()
        try:
            conversion = to_fhir(data, profile)
            places = {
                (each.place.segment, each.reason, str(each.place)) for each in explain.explain(data, profile).unmapped
            }
        except MappingError:
            refused += 1
            continue
        resources += len(conversion.resources)
        invalid += sum(bool(validate(mapped.body)) for mapped in conversion.resources)
        unmapped += Counter((segment, reason) for segment, reason, _ in places)
    report.head(f"Corpus: {len(messages)} messages")
    report.line("messages refused", refused, "none", not refused)
    report.line("resources", resources)
    report.line("resources the compiled schema refuses", invalid, "none", not invalid)
    report.line("valued places that become nothing", sum(unmapped.values()))
    for segment in sorted({segment for segment, _ in unmapped}):
        told = sorted((reason, count) for (name, reason), count in unmapped.items() if name == segment)
        report.line(f"  {segment}", ", ".join(f"{count} {reason}" for reason, count in told))


def expected(report: Report, folder: Path, profile: Profile, lost: bool) -> None:
    """Facts another converter carried over, and whether we did."""
    found = facts.compare(folder, profile)
    report.head(f"Facts of {found.messages} Bundles of another converter")
    report.line("carried over from the message as they stand", found.carried)
    report.line("present in our output", f"{found.present}, {found.moved} of them at a place the waivers name")
    report.line("waived with a reason", found.waived)
    report.line("recall", f"{found.recall:.1%}", f"{LEAST_RECALL:.0%}", found.recall >= LEAST_RECALL)
    report.line("contradictions waived with a reason", found.waived_against)
    report.line("contradictions", found.contradictions, "none", not found.contradictions)
    for key, counts in sorted(found.against.items(), key=lambda each: (-each[1].total(), each[0])):
        report.line(f"  {'.'.join(key)}", f"{counts.total()} in {', '.join(sorted(counts)[:3])}")
    if not lost:
        return
    report.head("Facts not carried over, by the field that holds them")
    for place, count in found.fields.most_common():
        report.line(f"  {place}", count)
    report.head("Facts not carried over, by where the other converter has them")
    for key, counts in sorted(found.lost.items(), key=lambda each: (-each[1].total(), each[0])):
        report.line(f"  {'.'.join(key)}", f"{counts.total()} in {', '.join(sorted(counts)[:3])}")


def start_up(report: Report) -> None:
    """The profile's compile in a process of its own, the best of three."""
    best = min(_timed() for _ in range(3))
    report.head("Start")
    report.line(
        "compile of the default profile", f"{best:.0f} ms", f"under {MOST_COMPILE_MS} ms", best < MOST_COMPILE_MS
    )


def _timed() -> float:
    done = subprocess.run([sys.executable, "-c", _TIMED], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout.split()[1]) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description="print the figures of the mapping of messages and documents")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder with hl7v2/messages, hl7v2/expected, cda")
    parser.add_argument("--lost", action="store_true", help="list the facts that are not carried over")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    given = parser.parse_args()
    report, profile = Report(), load_profile("default")
    folder = given.corpus / "hl7v2"
    rows_fired(report, profile)
    guide_rows(report)
    if (folder / "messages").is_dir():
        corpus(report, folder, profile)
    else:
        report.head("No corpus here: give --corpus or set CHARTBRIDGE_CORPUS")
    if (folder / "expected").is_dir():
        expected(report, folder, profile, given.lost)
    cda_figures.all_of(report, given.corpus / "cda", profile)
    start_up(report)
    return 1 if given.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
