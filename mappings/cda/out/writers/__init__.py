"""One writer a datatype: a FHIR value as an element of CDA. `WRITERS` is what rows may name.

Each is the counterpart of a function in `mappings/cda/datatypes/`: reading what it writes gives the value again. The
name is the datatype's, with the way it is used behind a dot; `classes.csv` says which datatype an element holds.
"""

from typing import Final

from mappings.cda.out.writers import any_value, coded, contacts, identifiers, names, quantities, text, times, timing
from mappings.cda.out.writing import Writer

WRITERS: dict[str, Writer] = {
    **text.WRITERS, **identifiers.WRITERS, **coded.WRITERS, **names.WRITERS, **contacts.WRITERS, **times.WRITERS,
    **quantities.WRITERS, **timing.WRITERS, **any_value.WRITERS,
}  # fmt: skip

# datatype of an element → those that may stand there instead; HL7 v3 datatypes R1: specialisations
_FITS: Final = {
    "ANY": frozenset({"CD", "CE", "CS", "PQ", "IVL_PQ", "ST", "ED", "TS", "IVL_TS", "INT", "BL", "RTO_PQ_PQ", "II"}),
    "CD": frozenset({"CE", "CS"}),
    "CE": frozenset({"CD"}),
    "SXCM_TS": frozenset({"TS", "IVL_TS", "GTS"}),
    "IVL_TS": frozenset({"TS"}),
    "IVL_PQ": frozenset({"PQ"}),
    "IVL_INT": frozenset({"INT"}),
    "INT_POS": frozenset({"INT"}),
    "ED": frozenset({"ST"}),
    "SC": frozenset({"ST"}),
    "EN": frozenset({"ST", "PN", "ON"}),
    "PN": frozenset({"ON"}),
}


def fits(writer: str, declared: str) -> bool:
    """Whether what a writer gives may stand in an element of that datatype."""
    given = writer.partition(".")[0]
    return given == declared or given in _FITS.get(declared, ())


__all__ = ["WRITERS", "fits"]
