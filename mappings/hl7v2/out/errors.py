"""What ends the writing of one message. Says which field, never what would have stood in it."""

from mappings.errors import MappingError


class OutboundError(MappingError):
    """Resources that cannot become this message, or rows that cannot be used."""
