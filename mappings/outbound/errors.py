"""What ends the writing of a message or document. Says which field, never what would have stood in it."""

from mappings.errors import MappingError


class OutboundError(MappingError):
    """Resources that cannot become this message or document, or rows that cannot be used."""
