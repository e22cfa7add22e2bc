"""Social history: smoking and tobacco, occupation, home, needs, scales that ask for them.

All are Observations, their rows `observation.Observation.csv`; what is about who the patient is goes to her
(`personal.py`), what older documents only assert is answered as a question (`answers.py`).
Source: C-CDA R1.1 to R5, social history observation and its kin; C-CDA on FHIR, social history; eHDSI social history.
"""

from mappings.cda.domains.observation import observed, panel
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.walk import Walk


@handles("social", "organizer", "observation", negation=True, subject=True)
def social(walk: Walk, el: Element) -> None:
    """One observation, or a group of them."""
    if el.short == "organizer":
        panel(walk, el)
    else:
        observed(walk, el)
