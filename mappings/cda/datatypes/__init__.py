"""CDA datatypes to FHIR datatypes, one module a family, all in `FUNCTIONS` by the names that mapping rows use."""

import importlib
import pkgutil

from mappings.cda.datatypes.registry import FUNCTIONS, DatatypeFunction

__all__ = ["FUNCTIONS", "DatatypeFunction"]

for _module in pkgutil.iter_modules(__path__):  # importing a family registers it
    importlib.import_module(f"{__name__}.{_module.name}")
