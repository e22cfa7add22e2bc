"""What `mappings/` raises, and nothing else.

- MappingError: the root; `status_hint` is the HTTP status an edge would answer with
    - each module's family (bytes, message, profile, search …) derives from it and lives beside the code that raises
"""


class MappingError(Exception):
    """Bytes or values from outside that cannot be used. Messages name the place, never the value."""

    status_hint = 400
