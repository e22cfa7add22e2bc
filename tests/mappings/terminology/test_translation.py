"""A code through the vocabulary maps. FHIR R4 conceptmap-operation-translate.html."""

from mappings.terminology.translation import CANONICAL, Match, fitting, named, translate

SEX = "http://terminology.hl7.org/CodeSystem/v2-0001"
GENDER = "http://hl7.org/fhir/administrative-gender"
NAME = "v2-0001.administrative-gender"


def test_maps_go_by_their_canonical() -> None:
    assert named(CANONICAL + NAME) is not None
    for other in (NAME, CANONICAL + "none", CANONICAL + "../maps/" + NAME, "", CANONICAL + NAME + "|1"):
        assert named(other) is None


def test_a_code_goes_forwards_and_back() -> None:
    one = named(CANONICAL + NAME)
    assert one is not None
    there = list(translate(one, SEX, "F", None, reverse=False))
    assert there == [Match("equivalent", GENDER, "female", "Female", CANONICAL + NAME)]
    back = list(translate(one, GENDER, "female", None, reverse=True))
    assert back == [Match("equivalent", SEX, "F", None, CANONICAL + NAME)]
    assert list(translate(one, GENDER, "female", None, reverse=False)) == []
    assert list(translate(one, SEX, "F", "http://example.org", reverse=False)) == []


def test_backwards_a_wider_target_is_a_narrower_source() -> None:
    wide = [
        (one, concept)
        for one in fitting(SEX, None, reverse=False)
        for concept in one.concepts.values()
        if concept.equivalence == "wider"
    ]
    for one, concept in wide:
        assert "narrower" in {m.equivalence for m in translate(one, concept.system, concept.code, None, reverse=True)}


def test_maps_are_found_by_where_they_begin_and_lead() -> None:
    assert NAME in [one.name for one in fitting(SEX, None, reverse=False)]
    assert NAME in [one.name for one in fitting(SEX, GENDER, reverse=False)]
    assert NAME in [one.name for one in fitting(GENDER, SEX, reverse=True)]
    assert fitting(SEX, "http://example.org", reverse=False) == []
    assert fitting("http://example.org", None, reverse=False) == []
