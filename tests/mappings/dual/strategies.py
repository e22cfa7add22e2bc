"""Records that Hypothesis makes up: every fact of the model, alone and beside every other."""

from datetime import date
from typing import TypeVar

from hypothesis import strategies as st

from mappings.fhir.temporal import compare
from tests.mappings.dual.model import (
    ATC,
    CVX,
    EDQM,
    ICD10,
    LOINC,
    NCIT,
    REASONS,
    RXNORM,
    SNOMED,
    Address,
    Allergy,
    Amount,
    Between,
    Code,
    Frequency,
    Immunization,
    Limits,
    Measured,
    Medication,
    Moment,
    Name,
    NoneKnown,
    NothingKnown,
    Number,
    Panel,
    Patient,
    Problem,
    Reaction,
    Record,
    Result,
    Telecom,
    Text,
    Titre,
    Unsaid,
)

T = TypeVar("T")

SUBSTANCES = (
    Code(RXNORM, "7980", "penicillin G"),
    Code(SNOMED, "762952008", "Peanut"),
    Code(SNOMED, "47703008", "Lactose"),
    Code(SNOMED, "735029006", "Shellfish"),
)
MANIFESTATIONS = (
    Code(SNOMED, "247472004", "Wheal"),
    Code(SNOMED, "49727002", "Cough"),
    Code(SNOMED, "422587007", "Nausea"),
)
PROBLEMS = (
    Code(SNOMED, "38341003", "Hypertension"),
    Code(SNOMED, "73211009", "Diabetes mellitus"),
    Code(ICD10, "I50.1", "Left ventricular failure"),
    Code(SNOMED, "30989003", "Knee pain"),
)
PRODUCTS = (
    Code(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
    Code(RXNORM, "197806", "ibuprofen 600 MG Oral Tablet"),
    Code(ATC, "J01CR02", "amoxicillin and beta-lactamase inhibitor"),
)
ROUTES = (Code(NCIT, "C38288", "Oral Route of Administration"), Code(EDQM, "20053000", "Oral use"))
NO_VACCINE = Code(CVX, "998", "no vaccine administered")
VACCINES = (
    Code(CVX, "03", "MMR"),
    Code(CVX, "43", "hepatitis B vaccine, adult dosage"),
    Code(CVX, "115", "Tdap"),
    NO_VACCINE,
)
WHY_NOT = Code(REASONS, "PATOBJ", "patient objection")
TESTS = (
    Code(LOINC, "2345-7", "Glucose"),
    Code(LOINC, "718-7", "Hemoglobin [Mass/volume] in Blood"),
    Code(LOINC, "1988-5", "C reactive protein"),
    Code(LOINC, "600-7", "Bacteria identified"),
    Code(LOINC, "5778-6", "Color of Urine"),
)
PANELS = (Code(LOINC, "24323-8", "Comprehensive metabolic panel"), Code(LOINC, "57021-8", "CBC panel"))
FINDINGS = (Code(SNOMED, "373067005", "No"), Code(SNOMED, "77386006", "Pregnant"))
UNITS = ("mg/dL", "g/dL", "mmol/L", "mm[Hg]", "10*3/uL", "%")

# letters beyond ASCII, and what HL7 v2 and XML each must escape
_WORD = st.text("abcXYZäßéŁ&<>|^~\\\"'", min_size=1, max_size=5).map(lambda tail: "A" + tail)
_WORDS = st.lists(_WORD, min_size=1, max_size=3).map(" ".join)
_DAYS = st.dates(min_value=date(1930, 1, 1), max_value=date(2025, 12, 31)).map(date.isoformat)
_OFFSETS = st.sampled_from(("+01:00", "-05:00", "+00:00", "+05:30"))
_TIMES = st.builds(
    "{}T{:%H:%M:%S}{}".format, _DAYS, st.times().map(lambda clock: clock.replace(microsecond=0)), _OFFSETS
)
_PARTIAL = st.one_of(_DAYS, _DAYS.map(lambda day: day[:7]), _DAYS.map(lambda day: day[:4]))
_ANY_TIME = st.one_of(_PARTIAL, _TIMES)
_NUMBERS = st.from_regex(r"(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?", fullmatch=True, alphabet="0123456789.")
_POSITIVE = _NUMBERS.filter(lambda text: text.strip("0."))


def _maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


def _each(strategy: st.SearchStrategy[T], most: int = 2) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


# who ------------------------------------------------------------------------------------------------------------------

_NUMBER_SPACES = (("2.999.2", "urn:oid:2.999.2"), ("2.16.840.1.113883.4.1", "http://hl7.org/fhir/sid/us-ssn"))
_FIRST = st.builds(
    Number, st.just("2.999.1.4"), st.just("urn:oid:2.999.1.4"), st.from_regex("[0-9A-Z]{1,8}", fullmatch=True)
)
_OTHER = st.sampled_from(_NUMBER_SPACES).flatmap(
    lambda space: st.builds(Number, st.just(space[0]), st.just(space[1]), st.from_regex("0[0-9]{3,8}", fullmatch=True))
)
_NAMES = st.builds(
    Name,
    _WORDS,
    st.lists(_WORD, min_size=1, max_size=3).map(tuple),
    _maybe(st.just("Dr.")),
    _maybe(st.just("Jr.")),
    _maybe(st.sampled_from(("official", "nickname", "maiden"))),
)
_ADDRESSES = st.builds(
    Address,
    st.lists(_WORDS, min_size=1, max_size=2).map(tuple),
    _WORDS,
    st.from_regex("0[0-9]{4}", fullmatch=True),
    _maybe(_WORDS),
    _maybe(st.sampled_from(("AT", "US"))),
    _maybe(st.sampled_from(("home", "work", "temp"))),
)
_USES = st.sampled_from(("home", "work"))
_TELECOMS = st.one_of(
    st.builds(Telecom, st.just("phone"), st.from_regex(r"\+43 1 [0-9]{3,7}", fullmatch=True), _USES),
    st.builds(Telecom, st.just("fax"), st.from_regex(r"\+43 2 [0-9]{3,7}", fullmatch=True), _USES),
    st.builds(Telecom, st.just("email"), st.from_regex(r"[a-z]{1,8}@example\.org", fullmatch=True), _USES),
)
PATIENTS = st.builds(
    Patient,
    st.builds(lambda first, others: (first, *others), _FIRST, _each(_OTHER, 1)),
    st.lists(_NAMES, min_size=1, max_size=2, unique_by=lambda name: name.use).map(tuple),
    st.sampled_from(("female", "male", "other", "unknown")),
    _maybe(_ANY_TIME),
    _each(_ADDRESSES),
    st.lists(_TELECOMS, max_size=2, unique_by=lambda telecom: telecom.use).map(tuple),
    st.booleans() | _ANY_TIME,
    _maybe(st.sampled_from(("D", "M", "S", "W"))),
)

# what -----------------------------------------------------------------------------------------------------------------

_KINDS = st.sampled_from(
    (("allergy", "medication"), ("allergy", "food"), ("allergy", "environment"), ("intolerance", "medication"),
     ("intolerance", "food"))
)  # fmt: skip
_REACTIONS = st.lists(
    st.builds(Reaction, st.sampled_from(MANIFESTATIONS), _maybe(st.sampled_from(("mild", "moderate", "severe")))),
    max_size=2,
    unique_by=lambda reaction: reaction.manifestation.code,
).map(tuple)
ALLERGIES = st.builds(
    lambda kind, **said: Allergy(type=kind[0], category=kind[1], **said),
    _KINDS,
    substance=st.sampled_from(SUBSTANCES),
    status=st.sampled_from(("active", "inactive", "resolved", "refuted")),
    criticality=_maybe(st.sampled_from(("low", "high", "unable-to-assess"))),
    onset=_maybe(_ANY_TIME),
    reactions=_REACTIONS,
)


def _problem(code: Code, status: str, onset: str | None, ended: str | None) -> Problem:
    """What is over began before."""
    over = status in ("resolved", "remission", "inactive")
    if onset is not None and ended is not None and ended != "unknown" and compare(onset, ended) == 1:
        onset, ended = ended, onset
    return Problem(code, status, onset, ended if over else None)  # type: ignore[arg-type]


CONDITIONS = st.builds(
    _problem,
    st.sampled_from(PROBLEMS),
    st.sampled_from(("active", "inactive", "resolved", "recurrence", "relapse", "remission", "refuted")),
    _maybe(_ANY_TIME),
    _maybe(_ANY_TIME | st.just("unknown")),
)
_FREQUENCIES = st.sampled_from(
    (Frequency(1, 1, "d"), Frequency(2, 1, "d"), Frequency(3, 1, "d"), Frequency(4, 1, "d"), Frequency(1, 12, "h"),
     Frequency(1, 6, "h"), Frequency(1, 8, "h"), Frequency(1, 2, "d"), Frequency(1, 1, "wk"))
)  # fmt: skip
_DOSES = st.builds(Amount, _POSITIVE, st.sampled_from(("mg", "mL", "")))


def _medication(refused: bool, days: tuple[str | None, str | None], **said: object) -> Medication:
    """What is refused is not handed out; the first day stands before the last."""
    if None not in days:
        days = tuple(sorted(days))  # type: ignore[type-var,assignment]
    if refused:
        said |= {"repeats": None, "supply": None}
    return Medication(refused=refused, start=days[0], end=days[1], **said)  # type: ignore[arg-type]


MEDICATIONS = st.builds(
    _medication,
    st.booleans(),
    st.tuples(_maybe(_PARTIAL), _maybe(_PARTIAL)),
    product=st.sampled_from(PRODUCTS),
    mood=st.sampled_from(("order", "listed")),
    status=st.sampled_from(("active", "completed", "stopped", "on-hold", "cancelled")),
    dose=_maybe(_DOSES),
    route=_maybe(st.sampled_from(ROUTES)),
    frequency=_maybe(_FREQUENCIES),
    as_needed=st.booleans(),
    repeats=_maybe(st.integers(0, 11)),
    supply=_maybe(_DOSES),
)


def _immunization(vaccine: Code, given: str, refused: bool, why: Code | None, **said: object) -> Immunization:
    if refused or vaccine == NO_VACCINE:  # what was not given has no lot, dose or number
        return Immunization(vaccine, given, refused, why if refused else None)
    return Immunization(vaccine, given, **said)  # type: ignore[arg-type]


IMMUNIZATIONS = st.builds(
    _immunization,
    st.sampled_from(VACCINES),
    _ANY_TIME,
    st.booleans(),
    _maybe(st.just(WHY_NOT)),
    lot=_maybe(_WORD),
    dose=_maybe(_DOSES),
    route=_maybe(st.sampled_from(ROUTES)),
    number=_maybe(st.integers(1, 9)),
)
_AMOUNTS = st.builds(Amount, _NUMBERS, st.sampled_from(UNITS))


def _ordered(ends: tuple[str, str]) -> tuple[str, str]:
    """From the least; one number has one spelling, since of `0` to `0.0` a document's reader keeps the first."""
    low, high = sorted(ends, key=float)
    return (low, low) if float(low) == float(high) else (low, high)


_ORDERED = st.tuples(_NUMBERS, _NUMBERS).map(_ordered)


VALUES = st.one_of(
    st.builds(Measured, _AMOUNTS | st.builds(Amount, _NUMBERS), _maybe(st.sampled_from(("<", "<=", ">", ">=")))),
    st.builds(
        lambda ends, unit: Between(Amount(ends[0], unit), Amount(ends[1], unit)), _ORDERED, st.sampled_from(UNITS)
    ),
    st.builds(Titre, st.just("1"), st.sampled_from(("8", "128"))),
    _WORDS.map(Text),
    st.sampled_from(FINDINGS),
    _ANY_TIME.map(Moment),
    st.builds(Unsaid, st.sampled_from(("asked-unknown", "not-asked", "temp-unknown", "masked"))),
)
_LIMITS = st.one_of(
    _ORDERED.map(lambda two: Limits(*two)),
    _NUMBERS.map(lambda low: Limits(low=low)),
    _NUMBERS.map(lambda high: Limits(high=high)),
    _WORDS.map(lambda words: Limits(words=words)),
)


def _result(code: Code, value: object, status: str, limits: Limits | None, **said: object) -> Result:
    """What is not final has no value; numbers have limits in numbers, of their own unit."""
    held = value if status == "final" else None
    if limits is not None and limits.words is None and not isinstance(held, Measured | Between):
        limits = None
    return Result(code, held, status, limits=limits, **said)  # type: ignore[arg-type]


RESULTS = st.builds(
    _result,
    st.sampled_from(TESTS),
    VALUES,
    st.sampled_from(("final", "final", "final", "registered", "cancelled", "entered-in-error")),
    _maybe(_LIMITS),
    time=_maybe(_TIMES),
    interpretations=st.lists(st.sampled_from(("H", "L", "N", "A", "HH")), max_size=2, unique=True).map(tuple),
    note=_maybe(_WORDS),
)


def _several(strategy: st.SearchStrategy[T], code: str, most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """Statements of different codes: what each says is known by its code."""
    return st.lists(strategy, max_size=most, unique_by=lambda each: getattr(each, code).code).map(tuple)


def _list(strategy: st.SearchStrategy[T], code: str) -> st.SearchStrategy[tuple[T, ...] | NoneKnown | NothingKnown]:
    return st.one_of(_several(strategy, code), st.just(NoneKnown()), st.just(NothingKnown()))


def _panels(codes: list[Code], times: list[str], results: tuple[Result, ...]) -> tuple[Panel, ...]:
    """Every result in one panel."""
    cut = len(results) // len(codes)
    parts = [results[:cut], results[cut:]] if len(codes) > 1 else [results]
    return tuple(Panel(code, time, part) for code, time, part in zip(codes, times, parts, strict=False) if part)


RECORDS = st.builds(
    Record,
    PATIENTS,
    _list(ALLERGIES, "substance"),
    _list(CONDITIONS, "code"),
    _list(MEDICATIONS, "product"),
    _list(IMMUNIZATIONS, "vaccine"),
    st.builds(
        _panels,
        st.lists(st.sampled_from(PANELS), min_size=1, max_size=2, unique=True),
        st.tuples(_TIMES, _TIMES).map(list),
        _several(RESULTS, "code", 4),
    ),
)
