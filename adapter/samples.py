"""Where the invented samples lie: in the wheel beside this file, in a checkout at the top."""

from pathlib import Path

from adapter.errors import ConfigurationError


def folder() -> Path:
    """The HL7 v2 samples. Raises ConfigurationError where the package was installed without them."""
    here = Path(__file__).parent
    for candidate in (here / "data" / "samples", here.parent / "samples" / "hl7v2"):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError("the samples are not installed", hint="name a folder with messages")
