"""What `chartbridge feed test` looks at: the way in of a feed, and what would become of messages. Nothing is kept."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from adapter.convert_files import messages_in
from adapter.errors import ChartbridgeError, UsageError
from adapter.inbound.ack import judge
from adapter.inbound.feed import Feed
from adapter.inbound.listener import tls_context
from adapter.lock import is_served
from adapter.profiles import site_profile
from adapter.receiving import rules_of
from adapter.site import Site, now
from mappings.convert import is_document, to_fhir
from mappings.errors import MappingError
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.message import peek
from mappings.profile import Profile

Row = dict[str, Any]


def checks(site: Site, feed: Feed) -> Iterator[Row]:
    """The file, its profile, and the port or folder."""
    profile = site_profile(site.folder, feed.profile)
    yield _row(True, "feed", f"{feed.name} at revision {feed.revision}")
    try:
        rows = len(profile.maps.table) + len(profile.cda.entries.table)
        yield _row(True, "profile", f"{profile.name}: {rows} rows")
    except MappingError as exc:  # of rows for documents, which are read when the first one comes
        yield _row(False, "profile", str(exc))
    try:
        rules = rules_of(profile)
        yield _row(
            True, "acknowledgements", f"after {rules.after}" + (f", to {rules.reply_to}" if rules.reply_to else "")
        )
        if feed.listen.tls is not None:
            tls_context(feed.listen.tls)
            yield _row(True, "certificates", "load")
    except ChartbridgeError as exc:
        yield _row(False, "configuration", exc.text)
    if feed.listen.kind == "mllp":
        yield _port(site, feed)
    elif feed.listen.path is not None:
        yield _folder(feed.listen.path)


def _row(ok: bool, what: str, found: str) -> Row:
    return {"ok": ok, "what": what, "found": found}


def _port(site: Site, feed: Feed) -> Row:
    host, port = feed.listen.host, feed.listen.port
    try:
        with closing(socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)):
            return _row(True, "port", f"{port} is free")
    except OSError as exc:
        taken = is_served(site.folder)  # by the very node, most likely
        return _row(taken, "port", f"{port} is in use: serve runs" if taken else f"{port}: {exc.strerror}")


def _folder(path: Path) -> Row:
    import os

    if not path.is_dir():
        return _row(False, "folder", "is no folder")
    ok = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    return _row(ok, "folder", "can be read and written" if ok else "cannot be written: files could not be moved")


def tries(site: Site, feed: Feed, paths: Iterable[Path]) -> Iterator[Row]:
    """What would become of each message of these files."""
    profile = site_profile(site.folder, feed.profile, site.keyring.organisation().identity)
    for path in paths:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
        for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
            for n, message in enumerate(messages_in(file.read_bytes()), 1):
                ok, found = _try(profile, message)
                yield _row(ok, f"{file}#{n}", found)


def _refused(profile: Profile, message: bytes) -> str:
    """Why receipt would not take a message, or who sent it; "" where it would."""
    rules, header = rules_of(profile), peek(message)
    reason = judge(header, message, rules)
    if header is None or reason is not None:
        return f"refused: {reason.issue} ({reason.text})" if reason else "refused"
    return "" if rules.accepts(header) else "quarantined: wrong-sender"


def _refused_document(profile: Profile, document: bytes) -> str:
    from mappings.cda.receipt import receipt

    try:
        receipt(document, profile)
    except UnreadableMessage as exc:
        return f"refused: {exc}"
    except MappingError:
        pass  # of the profile: its conversion says why
    return ""


def _try(profile: Profile, message: bytes) -> tuple[bool, str]:
    if refused := _refused_document(profile, message) if is_document(message) else _refused(profile, message):
        return False, refused
    try:
        conversion = to_fhir(message, profile, at=now(), events=False)
    except MappingError as exc:
        place = getattr(exc, "place", None)
        return False, f"quarantined: {getattr(exc, 'code', 'unreadable')} {place or ''}".rstrip()
    if conversion.filtered:
        return True, f"filtered: {conversion.filtered}"
    issues = [
        f"{issue.code} {issue.place or ''}".rstrip() for issue in conversion.issues if issue.severity != "information"
    ]
    return True, f"{len(conversion.resources)} resources" + (f"; {', '.join(issues[:5])}" if issues else "")
