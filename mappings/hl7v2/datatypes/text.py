"""Text, codes without a coding, booleans: ST, IS, ID, SI, TX, FT.

`text` is under every other datatype function, so its usual path is a few comparisons: no escape character and nothing
unprintable means that the raw text is the value.
Source: HL7 v2.9 §2A; FHIR R4 string, code, id, markdown, boolean.
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.escape import unescape
from mappings.terminology import tables
from mappings.terminology.concept_map import ConceptMap

NULL = '""'
_LONGEST = 1024 * 1024  # FHIR R4 string: at most 1 MB
_CONTROLS = {code: None for code in (*range(32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)) if code not in (9, 10, 13)}
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")
_TRUE_FALSE = {"Y": True, "N": False}  # table 0136


def text(raw: str, ctx: Context) -> str | None:
    """A component's text: unescaped, stripped; None where absent or HL7 null, in all its subcomponents."""
    if raw.isalnum():
        return raw  # letters and digits: no separator, nothing to unescape
    if not raw or raw == NULL:
        return None
    if ctx.esc in raw or not raw.isprintable() or raw[0] in (ctx.sub, '"') or raw[-1] == ctx.trunc:
        raw = _clean(raw, ctx)
    return raw.strip() or None


def _clean(raw: str, ctx: Context) -> str:
    """The rare path: escapes, line ends, control characters, the truncation mark, separators around nothing."""
    if void(raw, ctx.sub):
        return ""
    if raw[-1] == ctx.trunc:
        ctx.issue("truncated-value")
    if ctx.esc in raw:
        raw = unescape(raw, ctx)
    if raw.isprintable():
        return raw
    cleaned = raw.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    if len(cleaned) < len(raw.replace("\r\n", "\n")):
        ctx.issue("control-character")
    return cleaned


def void(raw: str, separators: str) -> bool:
    """Whether nothing but separators, nulls and blanks is there."""
    return not raw.replace(NULL, "").strip(separators + " ")


def part(parts: list[str], n: int, ctx: Context) -> str | None:
    """The text of the n-th component of a split value."""
    if n > len(parts) or not (raw := parts[n - 1]) or raw == NULL:
        return None
    if raw.isalnum():
        return raw
    if ctx.esc in raw or not raw.isprintable() or raw[0] in (ctx.sub, '"') or raw[-1] == ctx.trunc:
        raw = _clean(raw, ctx)
    return raw.strip() or None


def at(parts: list[str], n: int) -> str:
    """The raw n-th part, "" where absent or null."""
    if n > len(parts) or (raw := parts[n - 1]) == NULL:
        return ""
    return raw


def first(raw: str, ctx: Context) -> str | None:
    """The text of the first component: what a code type means when a sender adds a text behind it."""
    if ctx.comp in raw:
        raw = raw.split(ctx.comp, 1)[0]
    if ctx.sub in raw:
        raw = raw.split(ctx.sub, 1)[0]
    return text(raw, ctx)


def code_of(raw: str, ctx: Context) -> str | None:
    """A FHIR code: no white space at the ends, single blanks inside."""
    found = first(raw, ctx)
    return None if found is None else tidy_code(found, ctx)


def tidy_code(found: str, ctx: Context) -> str:
    if " " in found or not found.isprintable():
        tidy = " ".join(found.split())
        if tidy != found:
            ctx.issue("not-a-code")
        return tidy
    return found


def scoped(ctx: Context, kind: str, name: str) -> str:
    """A URI of this feed for a name that no one registered. An OID or UUID takes no path: there it stands in ours."""
    return values.scoped(ctx.profile.namespace, kind, name)


def table_system(table: str, code: str, ctx: Context) -> str:
    """HL7's system for a code of its table; for a code the site added to the table, the feed's own."""
    return tables.system_of(table, code) or scoped(ctx, "table", table)


# Row functions ------------------------------------------------------------------------------------------------------


@datatype("ST[string]", "IS[string]", "ID[string]", "NM[string]", "SI[string]", "GTS[string]", gives="string")
def st_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    """A whole field as text. Senders write `10^9/L` unescaped in text fields: the separator is text there."""
    if ctx.comp in raw:
        if void(raw, ctx.comp + ctx.sub):
            return None
        if NULL in raw:
            raw = ctx.comp.join([piece for piece in raw.split(ctx.comp) if piece.strip() != NULL])
        raw = raw.rstrip(ctx.comp)
        if ctx.comp in raw:
            ctx.issue("separator-in-text")
    found = text(raw, ctx)
    return None if found is None else _shortened(found, ctx)


def _shortened(found: str, ctx: Context) -> str:
    if len(found) <= _LONGEST // 4 or len(found.encode("utf-8", "ignore")) <= _LONGEST:
        return found
    ctx.issue("over-long")
    return found.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore")


@datatype("TX[string]", "FT[string]", gives="string", takes="all")
@datatype("TX[markdown]", "FT[markdown]", "ST[markdown]", gives="markdown", takes="all")
def tx_string(raws: list[str] | str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    """Repetitions are lines; an empty one is an empty line, as the sender laid it out."""
    if isinstance(raws, str):
        return st_string(raws, ctx)
    lines = [st_string(raw, ctx) or "" for raw in raws]
    return _shortened("\n".join(lines), ctx) if any(lines) else None


@datatype("FT[Annotation]", "TX[Annotation]", "ST[Annotation]", gives="Annotation", takes="all")
def tx_annotation(raws: list[str] | str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = tx_string(raws, ctx)
    return None if found is None else {"text": found}


@datatype("ID[code]", "IS[code]", "ST[code]", "SI[code]", gives="code", reads={1})
def id_code(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """A bare code; through its table where the row names one."""
    if vocab is not None and (hit := vocab.concepts.get(raw)) is not None:
        return hit.code
    code = code_of(raw, ctx)
    if code is None or vocab is None:
        return code
    if (hit := vocab.concepts.get(code)) is not None:
        return hit.code
    ctx.issue("vocab-miss")
    coding: Json = {"code": code}
    if vocab.table:
        coding = {"system": table_system(vocab.table, code, ctx), "code": code}
    return None, values.alternate({"coding": [coding]})


@datatype("ST[id]", "ID[id]", gives="id")
def st_id(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    found = first(raw, ctx)
    if found is None:
        return None
    if len(found) > 64 or not _ID.issuperset(found):
        ctx.issue("bad-value")
        return None
    return found


@datatype("ST[uri]", "ST[url]", gives="uri")
def st_uri(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    found = text(raw, ctx)
    if found is None:
        return None
    if ":" not in found or any(letter.isspace() for letter in found):
        ctx.issue("bad-value")
        return None
    return found


@datatype("ID[boolean]", "IS[boolean]", "ST[boolean]", "CWE[boolean]", gives="boolean", reads={1})
def id_boolean(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> bool | None:
    """Table 0136."""
    found = first(raw, ctx)
    if found is None:
        return None
    if (flag := _TRUE_FALSE.get(found.upper())) is None:
        ctx.issue("not-a-boolean")
    return flag
