"""Sites to be measured: made in a folder of the run, on free ports of this machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from adapter.access.grant import grant
from adapter.access.token import issue, load
from adapter.files import write_private
from adapter.http_server import free_port
from adapter.services import base_url
from adapter.settings import FILE, Settings
from adapter.settings import load as load_settings
from adapter.site import create, now

HOST = "127.0.0.1"
CLIENT = "clinic"
READS, WRITES = '"system/*.rs system/Consent.cu"', '"system/*.cruds"'  # what its registration says, and is to say


@dataclass(frozen=True, slots=True)
class Place:
    """A site, and where its node will answer."""

    folder: Path
    settings: Settings
    mllp_port: int

    @property
    def http_port(self) -> int:
        return self.settings.http.port

    def token(self) -> str:
        """A bearer token of the site's own client, for as long as a run lasts."""
        access = self.settings.access
        given = grant(access, CLIENT)
        key = load(self.folder / self.settings.keys.token_file)
        audience = base_url(self.settings)
        return issue(key, given, audience=audience, life_s=3600, now=now(), entropy=os.urandom)


def make(folder: Path, *, urls: Mapping[str, str] = MappingProxyType({})) -> Place:
    """A new site in a new folder; `urls` of the databases that hold `store`, `ledger`, `vault`, where files do not. Not
    in a running event loop.

    Its client may read and write.
    """
    http_port, mllp_port = free_port(HOST), free_port(HOST)
    files = {section: folder.with_suffix(f".{section}") for section in urls}
    for section, file in files.items():
        write_private(file, urls[section].encode())
    made = create(folder, org="hospital", name="Hospital", http_port=http_port, mllp_port=mllp_port, url_files=files)
    text = (made / FILE).read_text("utf-8")
    (made / FILE).write_text(text.replace(READS, WRITES), "utf-8")
    return Place(made, load_settings(made), mllp_port)
