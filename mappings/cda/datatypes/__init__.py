"""CDA datatypes to FHIR datatypes, one module a family, all in `FUNCTIONS` by the names that mapping rows use."""

from mappings.cda.datatypes import any_value, attachments, coded, identifiers, nulls, quantities, text, times
from mappings.cda.datatypes.registry import FUNCTIONS, DatatypeFunction

__all__ = ["FUNCTIONS", "DatatypeFunction"]

# importing a family registers it
_ = (any_value, attachments, coded, identifiers, nulls, quantities, text, times)
