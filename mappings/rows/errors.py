"""What the row engine raises: a table, a wiring file or a profile that cannot be used stops the start.

- RowsError: one or many faults, each as `file:line: what is wrong`; it never holds a value from a message
"""

from mappings.errors import MappingError


class RowsError(MappingError):
    """Rows that do not fit their grammar, the R4 schema, the datatype functions or each other."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if len(faults) > 20 else ""))
        self.faults = faults
