"""Which character set a message is in, and its text.

Decoding comes before splitting: in Shift-JIS, GB 18030, Big5 and ISO-2022-JP many characters contain the bytes of the
separators. Order of belief: byte order mark, MSH-18, ISO-2022-JP by its escape sequences (unless the feed's set is of
that family, or trusted), the feed's configured set, strict UTF-8, windows-1252. A header that lies is found out
(`charset-lies`): UTF-8 that was declared as something single-byte, or declared and invalid.
Source: HL7 v2.9 chapter 2, MSH-18 and table 0211; the WHATWG Encoding Standard for the supersets that senders mean
when they say Shift_JIS, Big5, EUC-KR or GB2312. CNS 11643 (EUC-TW) has no codec in Python: `charset-unknown`.
"""

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

DETECT = "detect"
DECLARED = "declared"

SINGLE_BYTE = frozenset({"ascii", "cp1252", "cp1250", "cp1251", "koi8_r", "cp437", "cp850"}) | {
    f"iso8859_{part}" for part in (*range(1, 11), 13, 14, 15, 16)
}
JAPANESE = "iso2022_jp_ext"
ISO_2022 = frozenset({JAPANESE, "iso2022_kr"})

# Spelling with everything but letters and digits removed -> Python codec. Table 0211 first, then what feeds write.
_CODECS = {
    "ASCII": "ascii",
    "ISOIR6": "ascii",
    "USASCII": "ascii",
    "ISO646": "ascii",
    **{f"8859{part}": f"iso8859_{part}" for part in (*range(1, 11), 13, 14, 15, 16)},
    **{f"ISO8859{part}": f"iso8859_{part}" for part in (*range(1, 11), 13, 14, 15, 16)},
    "ISOIR14": "cp932",  # JIS X 0201: ASCII and half-width katakana, the single bytes of Shift-JIS
    "ISOIR87": JAPANESE,
    "ISOIR159": JAPANESE,
    "ISO2022JP": JAPANESE,
    "ISOIR100": "iso8859_1",
    "LATIN1": "iso8859_1",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "KSX1001": "cp949",
    "KSC5601": "cp949",
    "EUCKR": "cp949",
    "BIG5": "big5hkscs",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "MS932": "cp932",
    "CP932": "cp932",
    "WINDOWS31J": "cp932",
    "EUCJP": "euc_jp",
    "UNICODE": "utf_8",
    "UNICODEUTF8": "utf_8",
    "UTF8": "utf_8",
    "UNICODEUTF16": "utf_16",
    "UTF16": "utf_16",
    "UNICODEUTF32": "utf_32",
    "UTF32": "utf_32",
    **{f"WINDOWS{page}": f"cp{page}" for page in (1250, 1251, 1252)},
    **{f"CP{page}": f"cp{page}" for page in (437, 850, 1250, 1251, 1252)},
    "ANSI": "cp1252",
    "KOI8R": "koi8_r",
}

_BOMS = (
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF32_LE, "utf_32_le"),  # before UTF-16: its mark begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)
_WIDE = ("utf_32_le", "utf_32_be", "utf_16_le", "utf_16_be")
_MARKS = tuple((start.encode(codec), codec) for codec in _WIDE for start in ("MSH", "FHS", "BHS"))
_C1 = re.compile(rb"[\x80-\x9f]")
_ESC = b"\x1b"
_ASCII, _ROMAN = b"\x1b(B", b"\x1b(J"  # what ends a run of Japanese: ASCII, or the Roman letters of JIS X 0201
_TO_JAPANESE = re.compile(rb"\x1b(?:\$[@B]|\(J)")
_LONGEST_NAME = 64  # characters of a name worth remembering: no set has a longer one


class Decoded(NamedTuple):
    """`text` decoded from `data[lead:]` with Python's `codec`; `issues` are codes of `issues.py`."""

    text: str
    codec: str
    lead: int
    declared: tuple[str, ...]  # the codecs of MSH-18's repetitions, for escapes that switch between them
    issues: tuple[str, ...]


def codec_of(name: str) -> str | None:
    """Python's codec for a spelling of table 0211 or of common feeds; None where we have no table."""
    return _codec_of(name) if len(name) <= _LONGEST_NAME else _codec_of.__wrapped__(name)


@lru_cache(maxsize=256)
def _codec_of(name: str) -> str | None:
    return _CODECS.get(re.sub(r"[^A-Z0-9]", "", name.upper()))


def wide(data: bytes) -> tuple[str, int] | None:
    """(codec, length of the byte order mark), if the bytes show it by a mark or by zero bytes around MSH."""
    if data[:3] == b"MSH" and data[3:4] != b"\0":
        return None
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return codec, len(mark)
    for start, codec in _MARKS:
        if data.startswith(start):
            return codec, 0
    return None


def declared_names(data: bytes) -> tuple[str, ...]:
    """The repetitions of MSH-18, read as ASCII. An empty first repetition means ASCII and is left out."""
    start = 0 if data.startswith(b"MSH") else data[:1024].upper().find(b"MSH")
    if start < 0 or len(data) < start + 5:
        return ()
    ends = [end for end in (data.find(b"\r", start), data.find(b"\n", start)) if end >= 0]
    fields = data[start : min(ends, default=len(data))].split(data[start + 3 : start + 4], 18)
    if len(fields) < 18 or not fields[17]:
        return ()
    repetition = fields[1][1:2] or b"~"
    return tuple(name.decode("ascii", "replace").strip() for name in fields[17].split(repetition) if name.strip())


def decode(data: bytes, default: str | None = None, trust: str = DETECT) -> Decoded:
    """The text of a message. Never raises: what fits no candidate becomes U+FFFD and `charset-invalid`."""
    if (shown := wide(data)) is not None:
        wide_codec, lead = shown
        text, bad = _forced(data[lead:], wide_codec)
        return Decoded(text, wide_codec, lead, (wide_codec,), ("charset-invalid",) if bad else ())
    names = declared_names(data)
    codecs_declared = tuple(codec for name in names if (codec := codec_of(name)))
    issues: tuple[str, ...] = ("charset-unknown",) if len(codecs_declared) < len(names) else ()
    switches = _ESC in data
    codec = _chosen(codecs_declared, switches)
    if codec in ("utf_16", "utf_32"):  # then the header could not have been read byte by byte
        codec, issues = "utf_8", (*issues, "charset-lies") if data.isascii() else issues
    if switches and codec is None and data.isascii():
        codec, issues = _undeclared(data, codec_of(default) if default else None, trust, issues)
    if data.isascii() and codec not in ISO_2022:
        return Decoded(data.decode("ascii"), codec or "ascii", 0, codecs_declared, issues)
    if codec == JAPANESE:
        data = data.replace(_ROMAN, _ASCII)  # they differ in backslash and tilde, and in HL7 those bytes are separators
    fallback = codec_of(default) if default else None
    text, used, found = _believe(data, codec, fallback) if trust == DECLARED else _detect(data, codec, fallback)
    return Decoded(text, used, 0, codecs_declared, (*issues, *found))


def hex_text(data: bytes, codec: str) -> str:
    r"""The text of an `\X..\` escape: bytes in the message's set, or whatever they fit."""
    for candidate in (codec, "utf_8", "cp1252"):
        try:
            return data.decode("utf_8" if candidate == "ascii" else candidate)
        except UnicodeDecodeError:
            continue
    return data.decode("latin_1")


def _chosen(declared: tuple[str, ...], switches: bool) -> str | None:
    """The first declared set, or the ISO-2022 one among them if the bytes switch sets with ESC."""
    if switches:
        for codec in declared:
            if codec in ISO_2022 or codec == "cp949":
                return "iso2022_kr" if codec == "cp949" else codec
    return declared[0] if declared else None


def _undeclared(
    data: bytes, fallback: str | None, trust: str, issues: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """(codec, issues) of ASCII bytes with ESC in them of which MSH-18 says nothing: the feed's set, if that switches
    with ESC; ISO-2022-JP, if all of it is and no line ends in Japanese. ESC has other uses, which stay as they are.
    """
    if fallback in ISO_2022:
        return fallback, issues
    if (trust == DECLARED and fallback) or _TO_JAPANESE.search(data) is None:
        return None, issues
    last = (line[line.rfind(_ESC) :] for line in data.splitlines() if _ESC in line)
    if not all(each.startswith((_ASCII, _ROMAN)) for each in last) or _strict(data, JAPANESE) is None:
        return None, issues
    return JAPANESE, (*issues, "charset-guessed")


def _detect(data: bytes, codec: str | None, fallback: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Belief in the bytes before belief in the header."""
    if codec is None or codec in SINGLE_BYTE or codec == "utf_8":
        if (text := _strict(data, "utf_8")) is not None:
            agreed = (codec or fallback) == "utf_8"
            return text, "utf_8", () if agreed else ("charset-lies",)
        if codec is None and fallback is None:
            return *_total(data, "cp1252"), ("charset-guessed",)
        lies = codec in ("utf_8", "ascii") or _c1_in_latin1(data, codec)
        chosen = (fallback or "cp1252") if lies or codec is None else codec
        return *_total(data, chosen), ("charset-lies",) if lies else ()
    if (text := _strict(data, codec)) is not None:
        return text, codec, ()
    if (text := _strict(data, "utf_8")) is not None:
        return text, "utf_8", ("charset-lies",)
    # one bad character must not turn all the others into another alphabet
    return data.decode(codec, "replace"), codec, ("charset-invalid",)


def _believe(data: bytes, codec: str | None, fallback: str | None) -> tuple[str, str, tuple[str, ...]]:
    """`trust = "declared"`: the header, else the feed's set, decides; the bytes are not asked."""
    chosen = codec or fallback
    if chosen is None:
        return *_total(data, "cp1252"), ("charset-guessed",)
    text, bad = _forced(data, chosen)
    return text, chosen, ("charset-invalid",) if bad else ()


def _c1_in_latin1(data: bytes, codec: str | None) -> bool:
    """ISO 8859-1 has only control codes at 80-9F; who sends them means windows-1252 (as WHATWG decodes it)."""
    return codec == "iso8859_1" and _C1.search(data) is not None


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _forced(data: bytes, codec: str) -> tuple[str, bool]:
    text = _strict(data, codec)
    return (data.decode(codec, "replace"), True) if text is None else (text, False)


def _total(data: bytes, codec: str) -> tuple[str, str]:
    """Decode in a set that may lack some bytes (windows-1252 lacks five): ISO 8859-1 has them all."""
    if (text := _strict(data, codec)) is not None:
        return text, codec
    if codec in SINGLE_BYTE:
        return data.decode("latin_1"), "iso8859_1"
    return data.decode(codec, "replace"), codec
