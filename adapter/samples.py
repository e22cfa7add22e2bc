"""Where the invented samples lie: in the wheel beside this file, in a checkout at the top."""

from pathlib import Path

from adapter.errors import ConfigurationError


def folder() -> Path:
    """The HL7 v2 samples. Raises ConfigurationError where the package was installed without them."""
    return _first("samples", "hl7v2")


def documents() -> Path:
    """The CDA samples. Raises ConfigurationError where the package was installed without them."""
    return _first("documents", "cda")


def _first(installed: str, kept: str) -> Path:
    here = Path(__file__).parent
    for candidate in (here / "data" / installed, here.parent / "samples" / kept):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError("the samples are not installed", hint="name a folder with messages")
