"""The datatype functions of HL7 v2 by their row names. What such a function takes and gives: `rows/functions.py`."""

from typing import Any, Final

from mappings.rows.functions import DatatypeFunction, Functions

__all__ = ["FUNCTIONS", "DatatypeFunction", "Json", "datatype"]

Json = dict[str, Any]

FUNCTIONS: Final = Functions()
datatype = FUNCTIONS.datatype
