"""A site's profiles: its own folder wins over the shipped one of the same name.

What a profile holds is `mappings/profile.py`'s; here its faults become a configuration error, which is what they are to
whoever starts a node.
"""

from pathlib import Path

from adapter.errors import ConfigurationError
from mappings.errors import MappingError
from mappings.identity import PUBLIC_KEY
from mappings.profile import Profile, load_profile, own_digest


def find_profile(site: str | Path, name: str) -> str | Path:
    """Where the profile of this name lies: a folder of the site, or the shipped one's name."""
    own = Path(site) / "profiles" / name
    return own if (own / "profile.toml").is_file() else name


def read_profile(where: str | Path, identity_key: bytes = PUBLIC_KEY) -> Profile:
    """A profile by folder or shipped name. Raises ConfigurationError."""
    try:
        return load_profile(where, identity_key)
    except MappingError as exc:
        raise ConfigurationError(str(exc), hint=f"edit profiles/{Path(where).name}/profile.toml") from exc
    except OSError as exc:
        text = f"profile {Path(where).name}: a file cannot be read: {exc.strerror}"
        raise ConfigurationError(text, hint="chartbridge doctor") from exc


def site_profile(site: str | Path, name: str, identity_key: bytes = PUBLIC_KEY) -> Profile:
    """The profile that a site's feed names. Raises ConfigurationError."""
    return read_profile(find_profile(site, name), identity_key)


def own_files(site: str | Path, name: str) -> str:
    """A digest of the files that a site has of its own for a profile; "" for a shipped one, or one not to be read."""
    try:
        return own_digest(find_profile(site, name))
    except (MappingError, OSError):
        return ""  # whoever loads it says why
