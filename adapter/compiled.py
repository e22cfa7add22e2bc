"""Whether the hot path runs as compiled code (`docs/decisions/0009-compiled-hot-path.md`)."""

from importlib.machinery import ExtensionFileLoader

from mappings import convert


def is_compiled() -> bool:
    """True in a wheel that was built with a compiler, False where the packages are Python throughout."""
    return convert.__spec__ is not None and isinstance(convert.__spec__.loader, ExtensionFileLoader)
