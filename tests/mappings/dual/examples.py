"""Records by hand: between them they say everything that the model can say, and all that a form says otherwise."""

from typing import Final

from tests.mappings.dual.model import (
    Address,
    Allergy,
    Amount,
    Between,
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
from tests.mappings.dual.strategies import (
    FINDINGS,
    MANIFESTATIONS,
    NO_VACCINE,
    PANELS,
    PROBLEMS,
    PRODUCTS,
    ROUTES,
    SUBSTANCES,
    TESTS,
    VACCINES,
    WHY_NOT,
)

_NUMBER = Number("2.999.1.4", "urn:oid:2.999.1.4", "007")
_NOON = "2025-03-04T12:00:00+01:00"

FULL: Final = Record(
    Patient(
        numbers=(_NUMBER, Number("2.16.840.1.113883.4.1", "http://hl7.org/fhir/sid/us-ssn", "000123456")),
        names=(
            Name("Demo & Söhne", ("Ana", "Maria", "Luisa"), "Dr.", "Jr.", "official"),
            Name("O'Hara", ("Ana",), use="maiden"),
        ),
        sex="other",
        birth="1980-01-02T03:04:05+01:00",
        addresses=(Address(("Ring 1", "Door | 2"), "Wien", "01010", "W", "AT", "home"),),
        telecoms=(Telecom("phone", "+43 1 555", "home"), Telecom("email", "ana@example.org", "work")),
        dead="2026-01",
        marital="W",
    ),
    allergies=(
        Allergy(SUBSTANCES[0], "allergy", "medication", "active", "high", "1998",
                (Reaction(MANIFESTATIONS[0], "severe"), Reaction(MANIFESTATIONS[1], "mild"))),
        Allergy(SUBSTANCES[1], "allergy", "food", "resolved", "low", "2010-05", (Reaction(MANIFESTATIONS[2]),)),
        Allergy(SUBSTANCES[2], "intolerance", "food", "inactive", "unable-to-assess"),
        Allergy(SUBSTANCES[3], "allergy", "environment", "refuted"),
    ),
    problems=(
        Problem(PROBLEMS[0], "active", "2015-02-03"),
        Problem(PROBLEMS[1], "refuted"),
        Problem(PROBLEMS[2], "resolved", "2001", "2002-03"),
        Problem(PROBLEMS[3], "remission", None, "unknown"),
    ),
    medications=(
        Medication(PRODUCTS[0], "order", "stopped", False, Amount("1.50", "mg"), ROUTES[0], Frequency(2, 1, "d"),
                   "2024-01-01", "2025-02", as_needed=True, repeats=0, supply=Amount("30")),
        Medication(PRODUCTS[1], "listed", "active", False, Amount("5", "mL"), ROUTES[1], Frequency(1, 12, "h"), "2024"),
        Medication(PRODUCTS[2], "order", refused=True),
    ),
    immunizations=(
        Immunization(VACCINES[0], _NOON, lot="L-1", dose=Amount("0.5", "mL"), route=ROUTES[0], number=2),
        Immunization(VACCINES[1], "2020-06", refused=True, why_not=WHY_NOT),
        Immunization(NO_VACCINE, "2021-07"),
    ),
    panels=(
        Panel(PANELS[0], _NOON, (
            Result(TESTS[0], Measured(Amount("1.030", "mg/dL")), time="2025-03-04T11:00:00+01:00",
                   interpretations=("H", "A"), limits=Limits("0.5", "1.00"), note="Once more, & soon."),
            Result(TESTS[1], Measured(Amount("5", "g/dL"), "<"), limits=Limits(low="3")),
            Result(TESTS[2], Between(Amount("7", "%"), Amount("7", "%"))),
            Result(TESTS[3], Text("No growth | after 48 h"), limits=Limits(words="none")),
        )),
        Panel(PANELS[1], _NOON, (Result(TESTS[4], FINDINGS[0]),)),
    ),
)  # fmt: skip

NONE: Final = Record(
    Patient((_NUMBER,), (Name("Demo", ("Ana",)),), "unknown", dead=True),
    allergies=NoneKnown(),
    problems=NoneKnown(),
    medications=NoneKnown(),
    immunizations=NoneKnown(),
    panels=(
        Panel(PANELS[0], _NOON, (
            Result(TESTS[0], None, "registered"),
            Result(TESTS[1], None, "cancelled"),
            Result(TESTS[2], Titre("1", "128")),
            Result(TESTS[3], Unsaid("masked")),
            Result(TESTS[4], None, "entered-in-error"),
        )),
    ),
)  # fmt: skip

NOTHING: Final = Record(
    Patient((_NUMBER,), (Name("Demo", ("Ana",)),), "female", birth="1980-01"),
    allergies=NothingKnown(),
    problems=NothingKnown(),
    immunizations=NothingKnown(),
    medications=(
        Medication(PRODUCTS[0], "listed", refused=True, start="2024", end="2024"),
        Medication(PRODUCTS[1], start="2024-01-01", end="2024-01-01"),
        Medication(PRODUCTS[2], start="2024-01-01", end="2024-01-01", frequency=Frequency(3, 1, "d")),
    ),
    panels=(Panel(PANELS[0], _NOON, (Result(TESTS[0], Moment("2025-03")),)),),
)

EXAMPLES: Final = (FULL, NONE, NOTHING)
