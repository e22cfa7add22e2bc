"""Which order a segment belongs to: each rule with its counter-example (hl7v2.md §4, pairing; HL7 v2.9 §4.4, §7.3)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2.message import Segment, parse
from mappings.hl7v2.structure import Family, Group, group, structure_row
from tests.mappings.hl7v2.messages import default, header

ORU, OUL, OUL_ORDER = "oru", "oul", "oul_order"
ORDER, ORDER_SPECIMEN = "order", "order_specimen"

SHORT = {
    "PRIOR_OBSERVATION": "PX", "PRIOR_ORDER": "PO", "OBSERVATION": "X", "SPECIMEN": "S", "CONTAINER": "C",
    "ORDER": "O", "PATIENT": "P", "VISIT": "V",
}  # fmt: skip


def family(name: str) -> Family:
    return default().family(name).family


def tree(found: Group) -> str:
    return f"{found.name}({' '.join([each.name for each in found.segments] + [tree(below) for below in found.groups])})"


def shape(words: str, name: str) -> str:
    """The groups of a message in short names; `ORC=PR` is an ORC that says so in ORC-1."""
    lines = [f"{word.partition('=')[0]}|{word.partition('=')[2]}" for word in words.split()]
    found = group(parse("\r".join([header("ORU^R01"), *lines]).encode()), family(name))
    made = "".join(tree(below) for below in found.root.groups)
    for long, short in SHORT.items():
        made = made.replace(long + "(", short + "(")
    return made


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        # ORC belongs to the next OBR; a second OBR has an order of its own; OBX between the two came with the order
        ("PID ORC OBR OBX ORC OBR OBX", ORU, "P(PID O(ORC OBR X(OBX)) O(ORC OBR X(OBX)))"),
        ("PID ORC OBR OBR", ORU, "P(PID O(ORC OBR) O(OBR))"),
        ("PID ORC OBX OBR OBX", ORU, "P(PID O(ORC OBR X(OBX) X(OBX)))"),
        ("PID OBX OBR OBX", ORU, "P(PID O(X(OBX)) O(OBR X(OBX)))"),  # no order waits: it is the patient's
        ("PID SAC ORC OBR OBX SAC OBR", ORU, "P(PID O(SAC ORC OBR X(OBX)) O(SAC OBR))"),  # OUL_R21
        # in OUL_R22 to R24 to the previous one
        ("PID SPM OBR ORC OBX OBR ORC OBX", OUL, "P(PID S(SPM O(OBR ORC X(OBX)) O(OBR ORC X(OBX))))"),
        ("PID SPM OBR OBR ORC", OUL, "P(PID S(SPM O(OBR) O(OBR ORC)))"),
        ("PID SPM OBR OBX ORC", OUL, "P(PID S(SPM O(OBR ORC X(OBX))))"),
        (
            "PID SPM ORC OBR OBX ORC OBR",
            OUL,
            "P(PID S(SPM O(ORC OBR X(OBX)) O(ORC OBR)))",
        ),  # a sender that did not read
        ("PID OBR ORC OBX OBR ORC OBX", OUL_ORDER, "P(PID O(OBR ORC X(OBX)) O(OBR ORC X(OBX)))"),
    ],
)
def test_an_order_has_its_own_orc(words: str, name: str, expected: str) -> None:
    assert shape(words, name) == expected


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        ("PID OBR OBX SPM OBX", ORU, "P(PID O(OBR X(OBX) S(SPM OBX)))"),
        ("PID OBR SPM OBX OBX", ORU, "P(PID O(OBR S(SPM) X(OBX) X(OBX)))"),  # the order has none before its SPM
        ("PID SPM OBX SAC INV OBR OBX", OUL, "P(PID S(SPM OBX C(SAC INV) O(OBR X(OBX))))"),
        ("PID SPM OBX SPM OBX OBR OBX", OUL, "P(PID S(SPM OBX) S(SPM OBX O(OBR X(OBX))))"),
        # OUL_R24: results, unless they stand between SPM and its container
        ("PID OBR SPM OBX SAC OBX", OUL_ORDER, "P(PID O(OBR S(SPM OBX C(SAC)) X(OBX)))"),
        ("PID OBR SPM OBX SAC INV OBX OBX", OUL_ORDER, "P(PID O(OBR S(SPM OBX C(SAC INV)) X(OBX) X(OBX)))"),
        ("PID OBR SPM OBX OBX", OUL_ORDER, "P(PID O(OBR S(SPM) X(OBX) X(OBX)))"),
        (
            "PID OBR SPM OBX OBR SPM OBX SAC OBX",
            OUL_ORDER,
            "P(PID O(OBR S(SPM) X(OBX)) O(OBR S(SPM OBX C(SAC)) X(OBX)))",
        ),
        # OML, OMG: OBX behind SAC describes the container
        ("PID ORC OBR OBX SPM OBX SAC OBX", ORDER, "P(PID O(ORC OBR X(OBX) S(SPM OBX C(SAC OBX))))"),
        ("PID SPM OBX SAC OBX ORC OBR OBX", ORDER_SPECIMEN, "P(PID S(SPM OBX C(SAC OBX) O(ORC OBR X(OBX))))"),
        ("PID SPM ORC OBR SPM ORC OBR", ORDER_SPECIMEN, "P(PID S(SPM O(ORC OBR)) S(SPM O(ORC OBR)))"),
    ],
)
def test_what_an_obx_behind_a_specimen_is_about(words: str, name: str, expected: str) -> None:
    assert shape(words, name) == expected


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        # a stay, an allergy or a patient behind an order open earlier results; the ORC behind them is theirs
        ("PID ORC=NW OBR PV1 AL1 ORC=NW OBR OBX", ORDER, "P(PID O(ORC OBR) PRIOR(PV1 AL1 PO(ORC OBR PX(OBX))))"),
        ("PID ORC=NW OBR PID ORC=NW OBR", ORDER, "P(PID O(ORC OBR) PRIOR(PID PO(ORC OBR)))"),
        # so does an ORC that says PR, and it goes on with those that say nothing or PR
        ("PID ORC=NW OBR ORC=PR OBR OBX ORC OBR", ORDER, "P(PID O(ORC OBR) PRIOR(PO(ORC OBR PX(OBX)) PO(ORC OBR)))"),
        # until an ORC says something else
        ("PID ORC=NW OBR ORC=PR OBR ORC=NW OBR", ORDER, "P(PID O(ORC OBR) PRIOR(PO(ORC OBR)) O(ORC OBR))"),
        ("PID ORC=NW OBR PV1 ORC=RE OBR PV1 ORC=RE OBR", ORDER,
         "P(PID O(ORC OBR) PRIOR(PV1 PO(ORC OBR)) PRIOR(PV1 PO(ORC OBR)))"),
        # before the first order they are the patient's and her stay's; PR there is the order at hand
        ("PID PV1 AL1 ORC=NW OBR", ORDER, "P(PID AL1 V(PV1) O(ORC OBR))"),
        ("PID ORC=PR OBR OBX", ORDER, "P(PID O(ORC OBR X(OBX)))"),
        # what earlier results never hold belongs to the order before them
        ("PID ORC=NW OBR ORC=PR OBR OBX FT1", ORDER, "P(PID O(ORC OBR FT1) PRIOR(PO(ORC OBR PX(OBX))))"),
        ("PID ORC=NW OBR ORC=PR OBR SPM", ORDER, "P(PID O(ORC OBR S(SPM)) PRIOR(PO(ORC OBR)))"),
        ("PID ORC=NW OBR ORC=PR OBR OBX ZX1 OBX", ORDER,
         "P(PID O(ORC OBR) PRIOR(PO(ORC OBR PX(OBX ZX1) PX(OBX))))"),
        # with specimens first the next order is of the same specimen
        ("PID SPM ORC=NW OBR PV1 ORC OBR ORC=NW OBR", ORDER_SPECIMEN,
         "P(PID S(SPM O(ORC OBR) O(ORC OBR)) PRIOR(PV1 PO(ORC OBR)))"),
        # ORU knows no earlier results: a second patient is a second patient
        ("PID ORC=RE OBR PID ORC=RE OBR", ORU, "P(PID O(ORC OBR))P(PID O(ORC OBR))"),
    ],
)  # fmt: skip
def test_results_of_earlier_orders_stand_apart(words: str, name: str, expected: str) -> None:
    assert shape(words, name) == expected


def segments_of(found: Group) -> list[Segment]:
    return [segment for each in found.walk() for segment in each.segments]


@given(
    st.lists(st.sampled_from("PID PV1 AL1 NTE ORC ORC=PR ORC=NW OBR OBX SPM SAC INV PRT FT1 TQ1 ZZ1 GOL".split())),
    st.sampled_from([ORU, OUL, OUL_ORDER, ORDER, ORDER_SPECIMEN]),
)
@settings(max_examples=200, deadline=None)
def test_every_segment_stands_in_one_group_once(words: list[str], name: str) -> None:
    lines = [f"{word.partition('=')[0]}|{word.partition('=')[2]}" for word in words]
    read = parse("\r".join([header("OML^O21"), *lines]).encode())
    found = group(read, family(name))
    assert sorted(segment.ordinal for segment in segments_of(found.root)) == list(range(len(read.segments)))
    assert [segment.ordinal for segment, _ in found.placed] == list(range(len(read.segments)))


@pytest.mark.parametrize(
    ("events", "name", "tier"),
    [
        ("ORU^R01 ORU^R30 ORU^R31 ORU^R32 ORU^R40 OUL^R21", ORU, "full"),
        ("OUL^R22 OUL^R23", OUL, "full"),
        ("OPU^R25", OUL, "core"),
        ("OUL^R24", OUL_ORDER, "full"),
        ("ORM^O01 OML^O21 OML^O39 OMG^O19 OMI^O23", ORDER, "full"),
        ("OML^O33 OML^O35", ORDER_SPECIMEN, "full"),
        ("ORL^O22 ORL^O34 ORG^O20 ORR^O02 ORI^O24", "kept", "kept"),  # replies
    ],
)
@pytest.mark.parametrize(
    "version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8.2", "2.9", ""]
)
def test_an_event_of_orders_and_results_has_its_family_in_every_version(
    events: str, name: str, tier: str, version: str
) -> None:
    for event in events.split():
        message, _, trigger = event.partition("^")
        row = structure_row(message, trigger, version=version)
        assert row is not None
        assert (row.family, row.tier) == (name, tier), event
