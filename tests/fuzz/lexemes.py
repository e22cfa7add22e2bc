"""What a field may hold: for each v2 datatype a maker of plausible, odd and broken values."""

from collections.abc import Callable
from typing import Final

from tests.fuzz.choices import Choices

Maker = Callable[[Choices, str], str]  # the decisions, and a code that fits the field

TIMES: Final = (
    "20250304081500+0100", "20250304", "202503", "2025", "20250304081500", "202503040815-0500", "20250230", '""', "",
    "20250304081500.1234+0000", "20250304240000", "99991231235959+0000", "00010101", "2025-03-04", "20250304+0100",
    "19000101", "20250303081500+0100", "0",
)  # fmt: skip
CLOCKS: Final = ("0815", "081500+0100", "08", "2560", "", "24", "081500.1")
NUMBERS: Final = (
    "1", "0", "-1", "1.50", "1e3", ".5", "+7", "007", "1,5", "<5", "100000000000000000000", "NaN", "x", "", '""', "1.",
    "%", "2", "1000000", "0.000000000000000000000000000000000000001",
)  # fmt: skip
UNITS: Final = ("mg", "mg/dL", "10*9/L", "%", "{beats}/min", "mm[Hg]", "a", "d", "h", "min", "no unit", "")
WORDS: Final = (
    "Beispiel", "", "Ångström", "名前", "a b", " ", "x" * 300, "\\F\\", "\\X00\\", "\\.br\\", "\\", "a^2", "a&b", "#",
    "urn:oid:1.2.3", "http://example.org/x y", "mailto:", "\ufeff", "\u2028", "<b>", "a\tb", "\x7f", "Patient/1",
)  # fmt: skip
SYSTEMS: Final = ("LN", "SCT", "99LOC", "HL70001", "I10", "ISO+", "UCUM", "L", "", "2.16.840.1.113883.6.1", "urn:x y")
AUTHORITIES: Final = ("HOSP", "HOSP&2.999.1.4&ISO", "&2.999.1.4&ISO", "&host.example&DNS", "x&y&z", "&urn:x&URI", "")
CODES: Final = (
    "A", "F", "M", "N", "Y", "U", "P", "C", "I", "O", "D", "R", "X", "AD", "UP", "DE", "CA", "NW", "SC", "OK", "XO", "",
    "CM", "DC", "RP", "HD", "L", "H", "HH", "MR", "PI", "NI", "SS", "PRN", "WPN", "NET", "BP",
)  # fmt: skip


def word(choices: Choices) -> str:
    return choices.one(WORDS)


def _joined(*parts: str) -> str:
    return "^".join(parts)


def _coded(choices: Choices, code: str) -> str:
    first = [code, word(choices), choices.one(SYSTEMS)]
    again = [choices.one(CODES), word(choices), choices.one(SYSTEMS)] if choices.flip(60) else []
    return _joined(*first, *again, *(["", "", word(choices)] if choices.flip(30) else []))


def _person(choices: Choices, code: str) -> str:
    number = str(choices.number(300)) if choices.flip(200) else ""
    return _joined(number, word(choices), word(choices), "", "", "", "", "", choices.one(AUTHORITIES), code)


def _identifier(choices: Choices, code: str) -> str:
    period = choices.one(TIMES), choices.one(TIMES)
    return _joined(str(choices.number(300)), "", "", choices.one(AUTHORITIES), choices.one(CODES), "", *period)


def _place(choices: Choices, code: str) -> str:
    return _joined(*(choices.one(("", "W1", "12", "A", word(choices))) for _ in range(choices.number(11) + 1)))


def _address(choices: Choices, code: str) -> str:
    lines = [word(choices) for _ in range(6)]
    return _joined(*lines, choices.one(CODES), "", "", "", "", "", choices.one(TIMES), choices.one(TIMES))


def _telecom(choices: Choices, code: str) -> str:
    use, kind = choices.one(("PRN", "WPN", "NET", "", "X")), choices.one(("PH", "CP", "FX", "Internet", "", "X"))
    number = word(choices), choices.one(NUMBERS), "", choices.one(NUMBERS)
    return _joined(word(choices), use, kind, *number, "", "", "", "", word(choices))


def _name(choices: Choices, code: str) -> str:
    parts = [word(choices) for _ in range(6)]
    return _joined(*parts, choices.one(CODES), "", "", "", "", choices.one(TIMES), choices.one(TIMES))


def _quantity(choices: Choices, code: str) -> str:
    return f"{choices.one(NUMBERS)}^{choices.one(UNITS)}&{word(choices)}&{choices.one(SYSTEMS)}"


def _timing(choices: Choices, code: str) -> str:
    amount = f"{choices.one(NUMBERS)}&{choices.one(UNITS)}"
    repeat = choices.one(("Q6H", "BID", "QAM", "Q1J2", "PRN", "C", "1&2", "QOD", "ACM", "HS", "", "Q0H", "Q999999H"))
    length = choices.one(("D3", "X3", "INDEF", "", "S0", "M-1", "W99999999"))
    return _joined(amount, repeat, length, choices.one(TIMES), choices.one(TIMES), code, word(choices))


def _structured(choices: Choices, code: str) -> str:
    signs = choices.one((">", "<", "", "=", "x", ">=")), choices.one(("-", "/", ":", "+", "", "."))
    return _joined(signs[0], choices.one(NUMBERS), signs[1], choices.one(NUMBERS))


def _data(choices: Choices, code: str) -> str:
    kind = choices.one(("text", "image", "Application", "", "x")), choices.one(("pdf", "plain", "", "a b"))
    encoding = choices.one(("Base64", "A", "Hex", "x", ""))
    return _joined("SYS", *kind, encoding, choices.one(("AAAA", "QUJD", "%", "4142", "", "A", "\\X00\\")))


MAKERS: Final[dict[str, Maker]] = {
    "CWE": _coded,
    "ID": lambda choices, code: code,
    "CX": _identifier,
    "EI": lambda choices, code: f"{choices.number(300)}^{choices.one(AUTHORITIES).replace('&', '^')}",
    "XPN": _name,
    "XAD": _address,
    "XTN": _telecom,
    "XCN": _person,
    "XON": lambda choices, code: f"{word(choices)}^^{choices.number(300)}^^^{choices.one(AUTHORITIES)}",
    "PL": _place,
    "DTM": lambda choices, code: choices.one(TIMES),
    "TM": lambda choices, code: choices.one(CLOCKS),
    "DR": lambda choices, code: f"{choices.one(TIMES)}^{choices.one(TIMES)}",
    "NM": lambda choices, code: choices.one(NUMBERS),
    "CQ": _quantity,
    "TQ": _timing,
    "SN": _structured,
    "ED": _data,
    "ST": lambda choices, code: word(choices),
    "raw": lambda choices, code: choices.piece(12).decode("latin-1").replace("\r", " "),
}


def value(choices: Choices, kind: str, code: str) -> str:
    """One repetition: of its kind, seldom something no kind makes."""
    if choices.flip(12):
        return choices.one(('""', "", "^^^^", "&&", "~", word(choices)))
    return MAKERS.get(kind, _coded)(choices, code)
