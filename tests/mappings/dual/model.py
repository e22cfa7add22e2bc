"""A small clinical model: what a patient record can say, in no standard's words. The emitters write it, `expected.py`
says what it means in FHIR.

Every name is invented; the codes are those of the samples. Times are written as FHIR writes them, numbers as text, so
that `1.030` stays `1.030`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple


class System(NamedTuple):
    """A code system: FHIR's URI, CDA's OID, HL7 v2's name in table 0396 ("" where it has none)."""

    uri: str
    oid: str
    mnemonic: str


SNOMED = System("http://snomed.info/sct", "2.16.840.1.113883.6.96", "SCT")
LOINC = System("http://loinc.org", "2.16.840.1.113883.6.1", "LN")
RXNORM = System("http://www.nlm.nih.gov/research/umls/rxnorm", "2.16.840.1.113883.6.88", "RXNORM")
ATC = System("http://www.whocc.no/atc", "2.16.840.1.113883.6.73", "WC")
CVX = System("http://hl7.org/fhir/sid/cvx", "2.16.840.1.113883.12.292", "CVX")
ICD10 = System("http://hl7.org/fhir/sid/icd-10", "2.16.840.1.113883.6.3", "I10")
NCIT = System("http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", "2.16.840.1.113883.3.26.1.1", "NCIT")
EDQM = System("http://standardterms.edqm.eu", "0.4.0.127.0.16.1.1.2.1", "")
REASONS = System("http://terminology.hl7.org/CodeSystem/v3-ActReason", "2.16.840.1.113883.5.8", "")


@dataclass(frozen=True, slots=True)
class Code:
    system: System
    code: str
    display: str


# who ------------------------------------------------------------------------------------------------------------------

NameUse = Literal["official", "nickname", "maiden"]
Use = Literal["home", "work"]


@dataclass(frozen=True, slots=True)
class Name:
    family: str
    given: tuple[str, ...]
    prefix: str | None = None
    suffix: str | None = None
    use: NameUse | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """An identifier: the OID of who gave it out, FHIR's URI of that, and the number."""

    root: str
    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Address:
    lines: tuple[str, ...]
    city: str
    postal_code: str
    state: str | None = None
    country: str | None = None
    use: Literal["home", "work", "temp"] | None = None


@dataclass(frozen=True, slots=True)
class Telecom:
    system: Literal["phone", "email", "fax"]
    value: str
    use: Use


@dataclass(frozen=True, slots=True)
class Patient:
    numbers: tuple[Number, ...]
    names: tuple[Name, ...]
    sex: Literal["female", "male", "other", "unknown"]
    birth: str | None = None  # of any precision
    addresses: tuple[Address, ...] = ()
    telecoms: tuple[Telecom, ...] = ()
    dead: bool | str = False  # when, where that is known
    marital: Literal["D", "M", "S", "W"] | None = None


# what -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """A number and its unit of UCUM; "" where it has none."""

    number: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Reaction:
    manifestation: Code
    severity: Literal["mild", "moderate", "severe"] | None = None


@dataclass(frozen=True, slots=True)
class Allergy:
    substance: Code
    type: Literal["allergy", "intolerance"]
    category: Literal["medication", "food", "environment"]
    status: Literal["active", "inactive", "resolved", "refuted"] = "active"
    criticality: Literal["low", "high", "unable-to-assess"] | None = None
    onset: str | None = None
    reactions: tuple[Reaction, ...] = ()


@dataclass(frozen=True, slots=True)
class NoneKnown:
    """That there is none is known."""


@dataclass(frozen=True, slots=True)
class NothingKnown:
    """Nobody knows whether there is any."""


@dataclass(frozen=True, slots=True)
class Problem:
    code: Code
    status: Literal["active", "inactive", "resolved", "recurrence", "relapse", "remission", "refuted"] = "active"
    onset: str | None = None
    ended: str | None = None  # "unknown": over, and nobody knows since when


@dataclass(frozen=True, slots=True)
class Frequency:
    """So many times in so many units of time: `2, 1, d` is twice a day, `1, 12, h` every twelve hours."""

    times: int
    period: int
    unit: Literal["h", "d", "wk"]


@dataclass(frozen=True, slots=True)
class Medication:
    product: Code
    mood: Literal["order", "listed"] = "order"  # what is to be taken, what a list says is taken
    status: Literal["active", "completed", "stopped", "on-hold", "cancelled"] = "active"
    refused: bool = False
    dose: Amount | None = None
    route: Code | None = None
    frequency: Frequency | None = None
    start: str | None = None
    end: str | None = None
    as_needed: bool = False
    repeats: int | None = None  # after the first supply
    supply: Amount | None = None


@dataclass(frozen=True, slots=True)
class Immunization:
    vaccine: Code
    given: str  # when, or when it was refused
    refused: bool = False
    why_not: Code | None = None
    lot: str | None = None
    dose: Amount | None = None
    route: Code | None = None
    number: int | None = None  # in its series


@dataclass(frozen=True, slots=True)
class Measured:
    """A number, perhaps only a bound of it."""

    amount: Amount
    comparator: Literal["<", "<=", ">", ">="] | None = None


@dataclass(frozen=True, slots=True)
class Between:
    low: Amount
    high: Amount


@dataclass(frozen=True, slots=True)
class Titre:
    numerator: str
    denominator: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    time: str


@dataclass(frozen=True, slots=True)
class Unsaid:
    """There is a reason why there is no value: FHIR's code of it."""

    reason: Literal["asked-unknown", "not-asked", "temp-unknown", "masked"]


Value = Measured | Between | Titre | Text | Moment | Unsaid | Code


@dataclass(frozen=True, slots=True)
class Limits:
    """What is normal: from, to, or a word for it."""

    low: str | None = None
    high: str | None = None
    words: str | None = None

    @property
    def text(self) -> str:
        if self.words is not None:
            return self.words
        if self.low is not None and self.high is not None:
            return f"{self.low}-{self.high}"
        return f">={self.low}" if self.low is not None else f"<={self.high}"


@dataclass(frozen=True, slots=True)
class Result:
    code: Code
    value: Value | None
    status: Literal["final", "registered", "cancelled", "entered-in-error"] = "final"
    time: str | None = None
    interpretations: tuple[str, ...] = ()  # HL7 v3 ObservationInterpretation
    limits: Limits | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    code: Code
    time: str
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of a patient. An empty tuple says nothing of its kind."""

    patient: Patient
    allergies: tuple[Allergy, ...] | NoneKnown | NothingKnown = ()
    problems: tuple[Problem, ...] | NoneKnown | NothingKnown = ()
    medications: tuple[Medication, ...] | NoneKnown | NothingKnown = ()
    immunizations: tuple[Immunization, ...] | NoneKnown | NothingKnown = ()
    panels: tuple[Panel, ...] = ()


def compact(time: str) -> str:
    """A FHIR time as HL7 writes it, in v2 and in CDA: `2026-03-01T12:00:00+01:00` is `20260301120000+0100`."""
    day, _, clock = time.partition("T")
    sign = "-" if "-" in clock else "+"
    hours, _, offset = clock.partition(sign)
    return day.replace("-", "") + hours.replace(":", "") + (sign + offset.replace(":", "") if offset else "")
