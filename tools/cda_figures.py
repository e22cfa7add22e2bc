"""The figures of the CDA mapping, each measured here and now: part of `make figures`.

Documents of the corpus are whole ones; its fragments stand in no document, and go through the same conversion in the
least document around them (`tests/mappings/cda/documents.py`). What "written otherwise" means stands with
`cda_variants.py`. The official validator (HL7's, in Java) is asked where `CHARTBRIDGE_TOOLS` names the folder of its
`validate`, or `../shared/tools` is that; else a line says that it was not.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Protocol

from mappings.cda.document import parse
from mappings.cda.outcome import SAID
from mappings.cda.paths import STATEMENTS
from mappings.convert import Conversion, Profile, UnreadableMessage, to_fhir
from mappings.fhir.codec import encode
from mappings.fhir.validate import validate
from tests.mappings.cda.documents import wrapped
from tools.cda_variants import VARIANTS, turned_wrong

ROOT = Path(__file__).parents[1]
VALIDATOR = Path(os.environ.get("CHARTBRIDGE_TOOLS", ROOT.parent / "shared/tools")) / "validate"
SAMPLES = sorted((ROOT / "samples/cda").glob("*.xml"))
# errors of the official validator that are none of ours → how its line reads
ACCEPTED = {
    "issuer and jurisdiction of a UDI, URIs that R4 itself names and the validator cannot look up": re.compile(
        r"Device\.udiCarrier\[\d+\]\.(issuer|jurisdiction): No definition could be found for URL value "
        r"'http://hl7\.org/fhir/NamingSystem/"
    ),
    "a display of DICOM as the guide publishes it": re.compile(
        r"Wrong Display Name 'Frames for Display' for http://dicom\.nema\.org/resources/ontology/DCM#113036"
    ),
}
_DOCUMENT = re.compile(rb"ClinicalDocument[^>]*urn:hl7-org:v3")


class Report(Protocol):
    """Where lines go."""

    def head(self, text: str) -> None: ...
    def line(self, name: str, value: object, goal: str = "", met: bool = True) -> None: ...


def rows_fired(report: Report, profile: Profile) -> None:
    """Rows that the samples fire."""
    traces = [to_fhir(sample.read_bytes(), profile, trace=True).trace for sample in SAMPLES]
    fired = {step.row for trace in traces if trace is not None for step in trace}
    live = {fact.row.id for each in profile.cda.entries.rows.maps.values() for fact in each.facts}
    report.head("Rows of documents")
    report.line("rows that some sample fires", f"{len(live & fired)} of {len(live)}", "all", live <= fired)
    for row in sorted(live - fired):
        report.line("  silent", row)


def corpus(report: Report, folder: Path, profile: Profile) -> None:
    """Whole documents and fragments."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".xml"]
    whole = [path for path in files if _DOCUMENT.search(path.read_bytes()[:6_000])]
    parts = [path for path in files if path not in whole]
    documents = {path: path.read_bytes() for path in whole}
    fragments = {path: wrapped(path.read_bytes()) for path in parts}
    converted = _converted(report, "Documents of the corpus", documents, profile, refused=0)
    in_parts = _converted(report, "Fragments of the corpus", fragments, profile, refused=1)
    official(report, converted | in_parts)
    report.head("Documents of the corpus, written otherwise")
    for variant in VARIANTS:
        broken = [
            path.stem
            for path, done in converted.items()
            if variant.breaks(done, to_fhir(variant.write(documents[path]), profile))
        ]
        report.line(variant.name, f"{len(converted) - len(broken)} of {len(converted)} say the same", "all", not broken)
    wrong = Counter(path.stem for path in converted for _ in turned_wrong(documents[path], profile))
    report.line("negations that did not turn their statement", wrong.total(), "none", not wrong)


def _converted(
    report: Report, head: str, given: dict[Path, bytes], profile: Profile, refused: int
) -> dict[Path, Conversion]:
    """All that can be converted, counted."""
    done: dict[Path, Conversion] = {}
    failed: list[str] = []
    for path, data in given.items():
        try:
            done[path] = to_fhir(data, profile)
        except UnreadableMessage as exc:
            failed.append(f"{path.name}: {exc}")
    said = Counter(each.outcome for one in done.values() for each in one.tally)
    statements = sum(_statements(given[path]) for path in done)
    invalid = sum(bool(validate(m.body)) for one in done.values() for m in one.resources)
    report.head(head)
    report.line("converted", f"{len(done)} of {len(given)}", f"all but {refused}", len(failed) <= refused)
    for each in failed:
        report.line("  refused", each)
    report.line("resources", sum(len(one.resources) for one in done.values()))
    report.line("resources the compiled schema refuses", invalid, "none", not invalid)
    report.line("statements", statements)
    report.line("statements accounted for", said.total(), "all", said.total() == statements)
    report.line("  of them", ", ".join(f"{said[each]} {each}" for each in SAID), "no error", not said["error"])
    return done


def official(report: Report, converted: dict[Path, Conversion]) -> None:
    """What HL7's own validator says of every resource of the corpus, where it is at hand."""
    report.head("The official validator")
    if not VALIDATOR.exists() or shutil.which("java") is None:
        report.line("errors", "not asked: CHARTBRIDGE_TOOLS names no folder with it, or there is no Java")
        return
    with tempfile.TemporaryDirectory() as folder:
        for count, done in enumerate(converted.values()):
            for number, mapped in enumerate(done.resources):
                name = f"{count}-{number}-{mapped.body['resourceType']}.json"
                (Path(folder) / name).write_bytes(encode(mapped.body))
        asked = [str(VALIDATOR), "--level", "error", folder]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if said.returncode not in (0, 1):
        report.line("errors", f"not asked: it ended with {said.returncode}", "none but the accepted", False)
        return
    errors = [line for line in said.stdout.splitlines() if ": error: " in line]
    report.line("errors", f"{len(errors)} in {len(set(map(_input, errors)))} inputs")
    rest = errors
    for reason, pattern in ACCEPTED.items():
        known = [line for line in rest if pattern.search(line)]
        rest = [line for line in rest if line not in known]
        report.line("  accepted", f"{len(known)} in {len(set(map(_input, known)))} inputs: {reason}")
    report.line("errors that nothing accepts", len(rest), "none", not rest)


def _input(line: str) -> str:
    """The number of the input in the name of the file that a line of the validator is about."""
    return Path(line.partition(": error: ")[0]).name.partition("-")[0]


def _statements(data: bytes) -> int:
    return sum(1 for el in parse(data).root.iter("*") if _local(el.tag) in STATEMENTS)


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def all_of(report: Report, folder: Path, profile: Profile) -> None:
    """Every figure."""
    rows_fired(report, profile)
    if folder.is_dir():
        corpus(report, folder, profile)
    else:
        report.head("Documents of the corpus: left out, there is none")
