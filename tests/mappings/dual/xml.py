"""CDA's elements as text, escaped; and the parts that both kinds of document write alike.

Source: CDA R2; HL7 V3 datatypes R1 (II, CD, TS, IVL_TS, PQ, PN, AD, TEL).
"""

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape, quoteattr

from tests.mappings.dual.model import (
    LOINC,
    Address,
    Amount,
    Between,
    Code,
    Limits,
    Measured,
    Moment,
    Name,
    Patient,
    Telecom,
    Text,
    Titre,
    Unsaid,
    Value,
    compact,
)

FLAVORS = {"asked-unknown": "ASKU", "not-asked": "NASK", "temp-unknown": "NAV", "masked": "MSK", "unknown": "UNK"}
_SEX = {"female": "F", "male": "M", "other": "UN", "unknown": "UNK"}
_NAME_USES = {"official": "C", "nickname": "A"}
_USES = {"home": "HP", "work": "WP", "temp": "TMP"}
_SCHEMES = {"phone": "tel", "email": "mailto", "fax": "fax"}


def tag(name: str, attributes: Mapping[str, str | None] | None = None, *inside: str, text: str = "") -> str:
    """An element; an attribute that is None is none."""
    said = "".join(f" {key}={quoteattr(value)}" for key, value in (attributes or {}).items() if value is not None)
    content = escape(text) + "".join(inside)
    return f"<{name}{said}>{content}</{name}>" if content else f"<{name}{said}/>"


def coded(name: str, code: Code, *inside: str, kind: str | None = None) -> str:
    said = {"xsi:type": kind, "code": code.code, "codeSystem": code.system.oid, "displayName": code.display}
    return tag(name, said, *inside)


def loinc(name: str, code: str) -> str:
    return tag(name, {"code": code, "codeSystem": LOINC.oid})


def plain(name: str, code: str, oid: str | None = None) -> str:
    return tag(name, {"code": code, "codeSystem": oid})


def null(name: str, flavor: str, kind: str | None = None) -> str:
    return tag(name, {"xsi:type": kind, "nullFlavor": flavor})


def template(*roots: str) -> str:
    return "".join(tag("templateId", {"root": root}) for root in roots)


def moment(name: str, time: str | None) -> str:
    return "" if time is None else tag(name, {"value": compact(time)})


def interval(name: str, low: str | None, high: str | None, kind: str | None = None) -> str:
    """IVL_TS; an end that is `unknown` is UNK."""
    end = null("high", "UNK") if high == "unknown" else moment("high", high)
    return tag(name, {"xsi:type": kind}, moment("low", low) + end) if low or high else ""


def quantity(name: str, amount: Amount, kind: str | None = None, **more: str) -> str:
    return tag(name, {"xsi:type": kind, "value": amount.number, "unit": amount.unit or None, **more})


# values ---------------------------------------------------------------------------------------------------------------


def value(found: Value) -> str:
    """`value` with the type that says it."""
    match found:
        case Measured(comparator=None):
            return quantity("value", found.amount, "PQ" if found.amount.unit else "REAL")
        case Measured(comparator=sign):
            end = "low" if str(sign).startswith(">") else "high"
            inclusive = "true" if str(sign).endswith("=") else "false"
            return tag("value", {"xsi:type": "IVL_PQ"}, quantity(end, found.amount, inclusive=inclusive))
        case Between():
            return tag("value", {"xsi:type": "IVL_PQ"}, quantity("low", found.low) + quantity("high", found.high))
        case Titre():
            ends = [
                tag(name, {"xsi:type": "INT", "value": number})
                for name, number in (("numerator", found.numerator), ("denominator", found.denominator))
            ]
            return tag("value", {"xsi:type": "RTO"}, *ends)
        case Text():
            return tag("value", {"xsi:type": "ST"}, text=found.text)
        case Moment():
            return tag("value", {"xsi:type": "TS", "value": compact(found.time)})
        case Code():
            return coded("value", found, kind="CD")
        case Unsaid():
            return null("value", FLAVORS[found.reason], "PQ")


def limits(found: Limits, unit: str) -> str:
    ends = "".join(
        quantity(name, Amount(end, unit)) for name, end in (("low", found.low), ("high", found.high)) if end is not None
    )
    inside = tag("text", text=found.text) + (tag("value", {"xsi:type": "IVL_PQ"}, ends) if ends else "")
    return tag("referenceRange", None, tag("observationRange", None, inside))


# patient --------------------------------------------------------------------------------------------------------------


def record_target(patient: Patient) -> str:
    numbers = (tag("id", {"root": each.root, "extension": each.value}) for each in patient.numbers)
    sex = _SEX[patient.sex]
    gender = null("administrativeGenderCode", sex) if sex == "UNK" else plain("administrativeGenderCode", sex)
    person = tag(
        "patient",
        None,
        *map(_name, patient.names),
        gender,
        moment("birthTime", patient.birth),
        _dead(patient.dead),
        plain("maritalStatusCode", patient.marital, "2.16.840.1.113883.5.2") if patient.marital else "",
    )
    role = tag(
        "patientRole", None, *numbers, *map(_address, patient.addresses), *map(_telecom, patient.telecoms), person
    )
    return tag("recordTarget", None, role)


def _dead(dead: bool | str) -> str:
    if isinstance(dead, str):
        return tag("sdtc:deceasedInd", {"value": "true"}) + moment("sdtc:deceasedTime", dead)
    return tag("sdtc:deceasedInd", {"value": "true"}) if dead else ""


def _name(name: Name) -> str:
    maiden = "BR" if name.use == "maiden" else None
    parts = [
        tag("prefix", None, text=name.prefix) if name.prefix else "",
        *(tag("given", None, text=given) for given in name.given),
        tag("family", {"qualifier": maiden}, text=name.family),
        tag("suffix", None, text=name.suffix) if name.suffix else "",
    ]
    return tag("name", {"use": _NAME_USES.get(name.use or "")}, *parts)


def _address(address: Address) -> str:
    parts = [("streetAddressLine", line) for line in address.lines]
    parts += [("city", address.city), ("postalCode", address.postal_code)]
    parts += [(name, said) for name, said in (("state", address.state), ("country", address.country)) if said]
    return tag("addr", {"use": _USES.get(address.use or "")}, *(tag(name, None, text=said) for name, said in parts))


def _telecom(telecom: Telecom) -> str:
    return tag("telecom", {"use": _USES[telecom.use], "value": f"{_SCHEMES[telecom.system]}:{telecom.value}"})


def section(loinc_code: str, title: str, templates: Iterable[str], *entries: str, flavor: str | None = None) -> str:
    """A section; its narrative says no more than its title."""
    inside = template(*templates) + loinc("code", loinc_code) + tag("title", None, text=title)
    held = inside + tag("text", None, text=title) + "".join(tag("entry", None, entry) for entry in entries)
    return tag("component", None, tag("section", {"nullFlavor": flavor}, held))
