"""The XML parser of this project: no DTD, no entity, no network, no comments, no instructions. Nobody else makes one.

What the tree of a CDA document or a FHIR resource may be is said where those are read. A DOCTYPE without an entity
parses: whoever reads strangers' bytes refuses it once parsed, so that no encoding hides it. `collect_ids` keeps its
default, for switching it off makes libxml2 2.14 read an external DTD from the disk, whatever `load_dtd` says. A
resolver that finds nothing stands behind.

Source: XML 1.0 §2.8 (DOCTYPE), §4.4 (entities); lxml's parser options and libxml2's error codes.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from lxml import etree

Element: TypeAlias = etree._Element

RESOURCE_LIMIT = int(etree.ErrorTypes.ERR_RESOURCE_LIMIT)
_NO_MEMORY = int(etree.ErrorTypes.ERR_NO_MEMORY)
BEYOND = (RESOURCE_LIMIT, _NO_MEMORY)  # too much of something, where other codes mean that it is no XML
_ERRORS = {code: name for name, code in vars(etree.ErrorTypes).items() if name.startswith(("ERR_", "NS_ERR_"))}


def parser(*, encoding: str | None = None, huge_tree: bool = False) -> etree.XMLParser:
    """A new parser. `huge_tree` lifts libxml2's own limits: for bytes in which no DOCTYPE can be, in that encoding."""
    made = etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=huge_tree,
        recover=False,
        remove_pis=True,
        remove_comments=True,
    )
    made.resolvers.add(_NOTHING)
    return made


class _Nothing(etree.Resolver):
    """Every external entity is empty."""

    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
        return self.resolve_empty(context)


_NOTHING = _Nothing()


def tree(data: bytes, encoding: str | None = None, huge_tree: bool = False) -> etree._Element:
    """The root. Raises lxml's XMLSyntaxError, whose text may quote the bytes: `name_of` says what can be told of it.

    lxml keeps every name a thread has met, up to some 130 MB; then it can learn no new one. So that a stranger's
    inventions do not stop the thread for good, what fails there is read in a thread of its own.
    """
    try:
        return etree.fromstring(data, parser(encoding=encoding, huge_tree=huge_tree))
    except etree.XMLSyntaxError as error:
        if error.code != _NO_MEMORY:
            raise
    with ThreadPoolExecutor(max_workers=1) as fresh:
        return fresh.submit(lambda: etree.fromstring(data, parser(encoding=encoding, huge_tree=huge_tree))).result()


def name_of(error: etree.XMLSyntaxError) -> str:
    """libxml2's name of an error."""
    return _ERRORS.get(error.code, "ERR_UNKNOWN")
