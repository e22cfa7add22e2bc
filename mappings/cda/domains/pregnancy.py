"""Pregnancies: status, expected date of delivery, outcomes.

The status is one Observation with the expected date as a component; that nobody knows is an answer (`answers.py`).
A date that stands alone, as in European documents, is an Observation of its own.
Source: IPS 2.0 and eHDSI, history of pregnancies; C-CDA R2.1, pregnancy observation; C-CDA on FHIR, social history.
"""

from mappings.cda.domains.observation import observed, panel
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.walk import Walk


@handles("pregnancy", "organizer", "observation", negation=True, subject=True)
def pregnancy(walk: Walk, el: Element) -> None:
    """One observation, or a group of them."""
    if el.short == "organizer":
        panel(walk, el)
    else:
        observed(walk, el)
