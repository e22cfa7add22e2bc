"""The closed list of things that can be wrong with a message or document and still let it be mapped.

Each code has one severity and one meaning; nothing outside this list is ever reported, so that quarantine, metrics and
`map unmapped` can group by code. An issue holds a place, never a value. Severities are FHIR's (issue-severity).
"""

from dataclasses import dataclass
from typing import Final

from mappings.cda.place import XmlPlace
from mappings.hl7v2.place import Place


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of issue: its code, how bad it is, and what it means to the person who runs the feed."""

    code: str
    severity: str  # error: a fact is lost or held; warning: a fact was changed or guessed; information: worth knowing
    meaning: str


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding. `row` is the mapping row at work ("" in the reader), `detail` a fixed phrase without any value."""

    code: str
    severity: str
    place: Place | XmlPlace | None
    row: str = ""
    detail: str = ""


_LIST: Final = (
    # reading
    Code("charset-guessed", "warning", "no character set was declared; windows-1252 or ISO-2022-JP was assumed"),
    Code("charset-lies", "warning", "the bytes are not in the declared character set; the one they fit was used"),
    Code("charset-unknown", "warning", "MSH-18 names a character set this reader has no table for"),
    Code("charset-invalid", "error", "some bytes fit no candidate character set; they became U+FFFD"),
    Code("continuation-line", "warning", "a line did not start with a segment name and was joined to the one before"),
    Code("segment-case", "information", "a segment name was not in capitals"),
    Code("separators-repeat", "warning", "MSH-2 uses one character for two separators; the first meaning holds"),
    Code("escape-unknown", "warning", "an escape sequence has no meaning here and stays as written"),
    Code("truncated-value", "warning", "the sender marked the value as cut short"),
    Code("control-character", "warning", "control characters that FHIR strings cannot hold were removed"),
    Code("separator-in-text", "information", "a text field holds an unescaped separator, kept as text"),
    Code("over-long", "warning", "a value is longer than its FHIR type allows"),
    # structure
    Code(
        "unexpected-segment",
        "warning",
        "a segment stands where its message structure has none, or once more than it has there",
    ),
    Code("results-after-specimen", "information", "results follow the specimen of an order that has none before it"),
    Code("unsupported-structure", "warning", "no map for this segment in this message structure"),
    Code("unknown-event", "warning", "the trigger event is not in the table of structures"),
    # values
    Code("not-a-date", "warning", "the value is not a date that exists; it was kept as written beside the element"),
    Code("no-offset", "warning", "no time zone is known; the time was cut to its date and kept as written beside it"),
    Code(
        "zone-mismatch",
        "warning",
        "the offset in MSH-7, or of a document's effectiveTime, disagrees with the profile's zone; it was believed, "
        "but for a document's +0000 that `cda.zero_offset` does not trust",
    ),
    Code(
        "time-in-gap", "information", "the clock was put forward over this time; the offset before the change was used"
    ),
    Code("time-ambiguous", "information", "the clock was put back over this time; the first of the two was used"),
    Code("not-a-number", "warning", "the value is not a number; it was kept as text"),
    Code("not-a-boolean", "warning", "the value is neither Y nor N"),
    Code("not-a-code", "warning", "the value holds white space or characters a code cannot hold"),
    Code("bad-encoding", "error", "the encapsulated data is not in the encoding it declares"),
    Code("bad-timing", "warning", "the timing could not be read; it was kept as text"),
    Code("type-inferred", "information", "OBX-2 is empty; the type was taken from the value"),
    Code(
        "sampled-data-without-period", "warning", "waveform data without its period cannot be SampledData; kept as text"
    ),
    Code("unknown-value-type", "warning", "OBX-2 names a type without a FHIR value; kept as text"),
    Code("vocab-miss", "warning", "the code is not in the table this element is bound to"),
    Code(
        "not-in-system",
        "warning",
        "HL7's code system, as of hl7.terminology.r4 7.0.1, does not have the code; it stands as the feed's own",
    ),
    Code("no-target", "warning", "the resource that this segment adds to is not in the message"),
    Code(
        "repetition-unread", "warning", "the element holds one value; the first repetition was taken, the rest was not"
    ),
    Code("extra-value", "information", "the value has more parts than the FHIR element can hold"),
    # writing: what HL7 v2, the version of the receiver, or CDA has no room for
    Code("not-in-version", "warning", "the version of HL7 v2 that is written has no room for this; it was left out"),
    Code("left-out", "warning", "what is written has no room for this, or must not say it; it was left out"),
    Code("system-unnamed", "warning", "the receiver has no name for the code system; the code was written without it"),
    Code("no-datatype", "warning", "no datatype of what is written holds this kind of value; it was not written"),
    Code("bad-value", "warning", "the value does not fit its datatype"),
    # mapping
    Code("no-row", "information", "no mapping row reads this field"),
    Code("condition-false", "information", "the rows that read this field did not apply"),
    Code("disabled", "information", "the profile switched off the row that reads this field"),
    Code("no-identity", "error", "nothing in the message identifies this resource; its position does"),
    Code("identity-by-position", "warning", "lines with equal identity were told apart by their order"),
    Code("stated-twice", "warning", "one message states a thing twice and differently; the later statement was taken"),
    Code("no-patient", "warning", "the message names no patient where its structure needs one"),
    Code("null-not-applied", "warning", "a null for one of several fields or repetitions of one list deleted nothing"),
    Code("label-unknown", "warning", "a confidentiality code is in no table; the restricted label was set"),
    Code("contradiction", "warning", "two fields contradict each other; what FHIR cannot hold of them was left out"),
    Code("kind-unmapped", "warning", "the segment states another kind of thing than its map makes; it was not mapped"),
    Code(
        "open-merge",
        "error",
        "a merge, move or change of number lacks MRG, or MRG the number that it needs; it was not done",
    ),
    Code("merge-with-self", "warning", "MRG and PID name the same patient; nothing was merged"),
    Code("report-without-order", "warning", "OBR-25 says that no order or result is on file"),
    # documents
    Code("doctype-refused", "error", "the document declares a DOCTYPE, which is never read"),
    Code("not-xml", "error", "the bytes are no well-formed XML"),
    Code("not-a-document", "error", "the root element is no ClinicalDocument"),
    Code(
        "several-patients",
        "error",
        "the document, or a message of one patient, names two and does not say whose its statements are",
    ),
    Code("duplicate-id", "warning", "two elements of the narrative have one ID; the first was taken"),
    Code("bad-null-flavor", "warning", "nullFlavor holds no null flavour; the value counts as unknown"),
    Code("id-reused", "warning", "statements that differ share one id; they were told apart by what they say"),
    Code(
        "document-id-reused", "warning", "a document of this id with other bytes is known; the bytes of both are kept"
    ),
    Code("dated-ahead", "warning", "the document is dated after its receipt; its statements count as of the receipt"),
    Code(
        "undated",
        "warning",
        "the document says no time that can be read; it counts as of its receipt, and where that is not known either "
        "no end is taken for past or to come",
    ),
    Code("status-conflict", "warning", "status and times contradict each other; the safer reading was taken"),
    Code("dangling-reference", "warning", "a reference points at nothing in the document"),
    Code("unsupported-statement", "warning", "nothing maps this statement; it stands in the narrative only"),
    Code("document-failed", "error", "the document in the message could not be converted; it is an attachment only"),
    Code(
        "document-of-another",
        "warning",
        "the document in the message is not known to be about its patient; it is an attachment only",
    ),
    Code("entry-failed", "error", "the entry could not be mapped; it stands in the narrative only"),
    # state, found when a conversion meets what is stored
    Code(
        "identity-ambiguous", "warning", "several known patients hold an identifier of this one; a new one was stored"
    ),
    Code("other-patient", "warning", "what was known under this number is another patient's; nothing of it was kept"),
    Code("order-unknown", "warning", "an order that only its number names is not known; it stands without its service"),
    Code(
        "correction-unmatched", "warning", "what a correction corrects cannot be told; it stands beside what was stated"
    ),
    Code("other-drug", "warning", "another drug was known under this number; it is in the earlier version only"),
    Code("late-event", "information", "the statement is older than what is stored; it filled absent elements only"),
    Code("result-downgrade", "warning", "a final result would have become less than final; the stored status was kept"),
    Code("unmarked-correction", "warning", "a final value changed without being marked corrected; stored as corrected"),
    Code("reinstated", "warning", "a result once entered in error was sent again"),
    Code("line-withdrawn", "warning", "a line known by its position only is no longer in the full report"),
    # transport
    Code("no-header", "error", "the bytes begin with no readable MSH segment"),
    Code("no-type", "error", "MSH-9 is missing"),
    Code("query", "error", "queries are not answered here; the FHIR API answers them"),
    Code("processing-id", "error", "MSH-11 is not among the processing ids this feed takes"),
    Code("version-id", "error", "MSH-12 is not a version 2 of HL7"),
    Code("torn-frame", "error", "a new frame began before the old one ended"),
    Code("control-id-missing", "warning", "MSH-10 is empty"),
    Code("batch", "error", "a batch where one message was expected, or one that holds no message"),
    Code("journal-unavailable", "error", "the journal could not make the message durable"),
    Code("junk-between-frames", "warning", "bytes between two frames were skipped"),
    Code("control-id-reused", "warning", "MSH-10 was used before for a different message"),
    Code("batch-count", "warning", "BTS-1 or FTS-1 is not the number that came, or the batch has no end"),
    Code("wrong-sender", "error", "the message does not match the senders of this feed"),
    Code("over-limit", "error", "a configured limit was passed"),
    Code("hook-failed", "error", "a hook of the profile raised, or gave back what cannot be used"),
    Code("invalid-resource", "error", "the resource does not fit the FHIR schema"),
)

CODES: Final[dict[str, Code]] = {code.code: code for code in _LIST}


def issue(code: str, place: Place | XmlPlace | None = None, *, row: str = "", detail: str = "") -> Issue:
    """An issue of the closed list; a code outside it is a mistake of ours (KeyError)."""
    return Issue(code, CODES[code].severity, place, row, detail)
