r"""Escape sequences to text.

`\F\ \S\ \T\ \R\ \E\ \P\` are the separators themselves; `\.br\` and its kin lay text out; `\Xhh..\` are bytes in the
message's character set, decoded together, so that `\XC3\\XBC\` is one letter; `\C..\` and `\M..\` switch between the
sets of MSH-18. What has no meaning stays as written. Runs after the last split, in time linear in the text.
Source: HL7 v2.9 §2.7.
"""

from mappings.hl7v2 import charset as charsets
from mappings.hl7v2.context import Context
from mappings.hl7v2.syntax import NONE

_MOST_LINES = 256  # what `\.sp n\` and `\.sk n\` may ask for; a number is no reason to allocate
_NOTHING = frozenset({"H", "N", ".IN", ".TI", ".FI", ".NF"})
_NUMBERED = (".IN", ".TI")
_HEX = frozenset("0123456789abcdefABCDEF")


def unescape(raw: str, ctx: Context) -> str:
    """`raw` with its sequences resolved; unknown ones stay and give one `escape-unknown` a value."""
    esc = ctx.esc
    out: list[str] = []
    pending = bytearray()  # bytes of neighbouring hexadecimal sequences
    unknown = False
    at = 0
    while (start := raw.find(esc, at)) >= 0 and (end := raw.find(esc, start + 1)) >= 0:
        _flush(out, pending, raw[at:start], ctx)
        content = raw[start + 1 : end]
        at = end + 1
        if (data := _hexadecimal(content)) is not None:
            pending += data
        elif content[:1] in ("C", "M") and (switched := _switched(raw, start, ctx)) is not None:
            text, at = switched
            _flush(out, pending, text, ctx)
        elif (text_of := _meaning(content, ctx)) is not None:
            _flush(out, pending, text_of, ctx)
        else:
            unknown = True
            _flush(out, pending, raw[start : end + 1], ctx)
    _flush(out, pending, raw[at:], ctx)
    if unknown:
        ctx.issue("escape-unknown")
    return "".join(out)


def _flush(out: list[str], pending: bytearray, text: str, ctx: Context) -> None:
    """Add text, after the letters that the bytes before it make."""
    if pending and text:
        out.append(charsets.hex_text(bytes(pending), ctx.message.charset))
        pending.clear()
    if text:
        out.append(text)


def _meaning(content: str, ctx: Context) -> str | None:
    if len(content) == 1 and (found := _separator(content, ctx)) is not None:
        return found
    upper = content.upper()
    if upper == ".BR" or upper == ".CE":
        return "\n"
    if upper in _NOTHING or (upper[:3] in _NUMBERED and _count(upper[3:]) is not None):
        return ""
    if upper[:3] in (".SP", ".SK") and (count := _count(upper[3:])) is not None:
        return ("\n" if upper[:3] == ".SP" else " ") * min(count, _MOST_LINES)
    return None


def _separator(letter: str, ctx: Context) -> str | None:
    """The separator a letter names; the standard's own where this message declares none."""
    declared = {"F": ctx.field_sep, "S": ctx.comp, "T": ctx.sub, "R": ctx.rep, "E": ctx.esc, "P": ctx.trunc}
    found = declared.get(letter)
    return {"T": "&", "R": "~", "P": "#", "S": "^"}.get(letter) if found == NONE else found


def _count(text: str) -> int | None:
    """The number of a layout command, 1 where left out; `+3` and `-3` are relative and count as 3."""
    digits = text.strip().lstrip("+-")
    if not digits:
        return 1
    return min(int(digits), _MOST_LINES) if digits.isascii() and digits.isdigit() and len(digits) < 9 else None


def _hexadecimal(content: str) -> bytes | None:
    digits = content[1:]
    if content[:1] not in ("X", "x") or not digits or len(digits) % 2 or not _HEX.issuperset(digits):
        return None
    return bytes.fromhex(digits)


def _switched(raw: str, start: int, ctx: Context) -> tuple[str, int] | None:
    r"""Text under `\M..\` or `\C..\`, up to the end of the value, if MSH-18 declares an ISO 2022 set for it.

    The sequence's bytes are what follows ESC in ISO 2022 (`\M2442\` is ESC $ B). None: not decodable, stays as written.
    """
    codec = next((c for c in ctx.message.declared if c in charsets.ISO_2022), None)
    if codec is None:
        return None
    data = bytearray()
    at = start
    while at < len(raw):
        if raw[at] == ctx.esc:
            end = raw.find(ctx.esc, at + 1)
            designator = raw[at + 2 : end] if end > 0 and raw[at + 1] in "CM" else ""
            if designator and len(designator) % 2 == 0 and _HEX.issuperset(designator):
                data += b"\x1b" + bytes.fromhex(designator)
                at = end + 1
                continue
            break  # another kind of sequence: the caller goes on from here
        data += raw[at].encode("ascii", "replace")
        at += 1
    try:
        return (bytes(data).decode(codec), at) if data else None
    except UnicodeDecodeError:
        return None
