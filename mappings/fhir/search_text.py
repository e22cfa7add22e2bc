"""Strings as searches compare them.

Source: FHIR R4 search.html §3.1.1.4.8: no regard to case, accents, punctuation and needless white space.
"""

import re
import unicodedata
from typing import Final

_SPACE: Final = re.compile(r"\s+")


def normalise(text: str) -> str:
    """NFKD, casefolded, without marks and punctuation, white space single and none at the ends. Doing it twice
    changes nothing.

    `Müller-Lüdenscheidt` is `mullerludenscheidt`; `ß` is `ss`.
    """
    if text.isascii() and text.isalnum():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(letter for letter in folded if unicodedata.category(letter)[0] not in "MP")
    return _SPACE.sub(" ", kept).strip()
