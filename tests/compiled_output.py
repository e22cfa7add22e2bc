"""What the mapping makes of many messages, a line each: name and digest. For `test_compiled.py`, which runs it twice.

    python -m tests.compiled_output

Every sample, message or document, and every fixture of a shipped profile, as golden files record them, traced and not;
documents of the corpus where it is at hand; patients as they are
read at receipt; messages that the fuzzer's generators make of fixed numbers; faults of the resources in
`tests/vectors`. The first line says how it ran.
"""

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from adapter.compiled import is_compiled
from mappings import fixtures
from mappings.bundle import bundle, usual
from mappings.convert import load_profile, patient_keys, to_fhir
from mappings.errors import MappingError
from mappings.fhir.codec import encode
from mappings.fhir.validate import validate
from mappings.profile import PROFILES, Profile
from mappings.record import record
from tests.fuzz import messages
from tests.fuzz.choices import Choices
from tests.mappings.fhir.test_mutants import MUTANTS, mutant
from tests.mappings.hl7v2.messages import SAMPLES, default
from tools.bench_peers import documents

ROOT = Path(__file__).parents[1]
GENERATED = 600  # messages of each generator
LONGEST = 900  # bytes of the choices that make one


def lines() -> Iterator[str]:
    yield f"compiled {is_compiled()}"
    for path in SAMPLES:
        data = path.read_bytes()
        yield from _converted(path.stem, data, default())
        yield f"{path.stem}, traced {_digest(partial(_record, data, default(), trace=True))}"
    for path in [*sorted((ROOT / "samples/cda").rglob("*.xml")), *documents()[1:]]:
        data = path.read_bytes()
        yield from _converted(path.stem, data, default())
        yield f"{path.stem}, traced {_digest(partial(_record, data, default(), trace=True))}"
        yield f"{path.stem}, bundle {_digest(partial(_bundle, data, default()))}"
    for folder in sorted(PROFILES.iterdir()):
        for path in fixtures.messages(folder):
            yield from _converted(f"{folder.name}/{path.stem}", path.read_bytes(), load_profile(folder))
    random_ = random.Random(4)
    for make in (messages.built, messages.changed):
        for number in range(GENERATED):
            data = make(Choices(random_.randbytes(random_.randrange(1, LONGEST))))
            yield from _converted(f"{make.__name__} {number}", data, default())
    for number, row in enumerate(MUTANTS):
        yield f"mutant {number} {_digest(partial(_mutant, row))}"


def _converted(name: str, data: bytes, profile: Profile) -> Iterator[str]:
    yield f"{name} {_digest(partial(_record, data, profile))}"
    yield f"{name}, patients {_digest(partial(_patients, data, profile))}"
    yield f"{name}, faults {_digest(partial(_faults, data, profile))}"


def _record(data: bytes, profile: Profile, *, trace: bool = False) -> bytes:
    return record(to_fhir(data, profile, trace=trace))


def _bundle(data: bytes, profile: Profile) -> bytes:
    conversion = to_fhir(data, profile)
    return encode(bundle(conversion, usual(conversion)))


def _patients(data: bytes, profile: Profile) -> bytes:
    return repr(patient_keys(data, profile)).encode()


def _faults(data: bytes, profile: Profile) -> bytes:
    return repr([validate(mapped.body) for mapped in to_fhir(data, profile).resources]).encode()


def _mutant(row: dict[str, str]) -> bytes:
    return repr(validate(mutant(row))).encode()


def _digest(make: Callable[[], bytes]) -> str:
    """Of what is made, or the refusal that is ours; anything else is a fault and ends the run."""
    try:
        return hashlib.sha256(make()).hexdigest()
    except MappingError as exc:
        return f"{type(exc).__name__}: {exc}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
