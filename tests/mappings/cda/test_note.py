"""Notes, comments, pictures, entry references and the time range of a section."""

import base64
from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes

NOTES, PROCEDURES, UNKNOWN, COURSE = "34109-9", "47519-4", "99999-9", "8648-8"
LOINC = 'codeSystem="2.16.840.1.113883.6.1"'
CODE = f'<code code="34109-9" {LOINC}><translation code="11506-3" {LOINC} displayName="Progress note"/></code>'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
AUTHOR = """<author><time value="20260222150000+0100"/><assignedAuthor><id root="2.999.3" extension="9"/>
  </assignedAuthor></author>"""


def note(inside: str, template: str = "202", own: str = "") -> str:
    return (
        f'<entry><act classCode="ACT" moodCode="EVN" {own}><templateId root="2.16.840.1.113883.10.20.22.4.{template}"/>'
        f"{inside}</act></entry>"
    )


def notes(done: Conversion) -> list[dict[str, Any]]:
    """Without the original document."""
    return [each for each in every(done, "DocumentReference") if "masterIdentifier" not in each]


def words(body: dict[str, Any]) -> list[tuple[str, str]]:
    found = [each["attachment"] for each in body["content"]]
    return [(each["contentType"], base64.b64decode(each["data"]).decode()) for each in found]


@pytest.mark.parametrize("section", [NOTES, "11506-3", PROCEDURES, COURSE, UNKNOWN])
def test_a_note_is_a_document_wherever_it_stands(section: str) -> None:
    inside = f'{CODE}<text>It went well.</text><statusCode code="completed"/><effectiveTime value="20260222"/>{AUTHOR}'
    (found,) = notes(of_sections((section, note(inside))))
    assert words(found) == [("text/plain", "It went well.")]
    assert [each["code"] for each in found["type"]["coding"]] == ["11506-3", "34109-9"]
    assert found["category"][0]["coding"][0]["code"] == "clinical-note"
    assert (found["status"], found["docStatus"]) == ("current", "final")
    assert found["date"] == "2026-02-22T15:00:00+01:00"
    assert found["context"]["period"]["start"] == "2026-02-22"
    assert found["author"][0]["reference"].startswith("Practitioner/")


@pytest.mark.parametrize(
    ("narrative", "kind", "told"),
    [
        ('<paragraph ID="n">First.<br/>Second.</paragraph>', "text/plain", "First.\nSecond."),
        (
            '<list><item ID="n"><paragraph>One</paragraph><paragraph>Two</paragraph></item></list>',
            "text/plain",
            "One\n\nTwo",
        ),
        ('<paragraph ID="n">x &lt; y &amp; z</paragraph>', "text/plain", "x < y & z"),
        (
            '<paragraph ID="n">Not <content styleCode="Bold">now</content></paragraph>',
            "application/xhtml+xml",
            'class="bold"',
        ),
        ('<table><tbody><tr ID="n"><td>a</td><td>b</td></tr></tbody></table>', "application/xhtml+xml", "<td>a</td>"),
    ],
)
def test_words_without_form_are_text_and_with_form_xhtml(narrative: str, kind: str, told: str) -> None:
    entry = note(f'{CODE}<text><reference value="#n"/></text>')
    (found,) = notes(of_sections((NOTES, f"<text>{narrative}</text>{entry}")))
    ((media, text),) = words(found)
    assert media == kind
    assert told in text
    assert "<script" not in text


def test_a_note_in_a_form_of_its_own_keeps_it_and_its_words() -> None:
    rtf = base64.b64encode(b"{\\rtf1 He rested.}").decode()
    entry = note(f'{CODE}<text mediaType="text/rtf" representation="B64">{rtf}<reference value="#n"/></text>')
    (found,) = notes(of_sections((NOTES, f'<text><paragraph ID="n">He rested.</paragraph></text>{entry}')))
    assert words(found) == [("application/rtf", "{\\rtf1 He rested.}"), ("text/plain", "He rested.")]


def test_words_that_nobody_finds_are_told_of() -> None:
    done = of_sections((NOTES, note(f'{CODE}<text><reference value="#nowhere"/></text>')))
    assert "dangling-reference" in codes(done)


def test_a_note_without_words_is_none() -> None:
    done = of_sections((NOTES, note(CODE)))
    assert notes(done) == []
    assert outcomes(done) == [("act", "narrative")]


def test_negation_is_never_lost_note() -> None:
    done = of_sections((NOTES, note(f"{CODE}<text>Was there.</text>", own='negationInd="true"')))
    assert notes(done) == []
    assert outcomes(done) == [("act", "unsupported")]


def test_a_withdrawn_note_is_in_error() -> None:
    (found,) = notes(of_sections((NOTES, note(f'{CODE}<text>Wrong.</text><statusCode code="nullified"/>'))))
    assert found["status"] == "entered-in-error"


def test_a_comment_alone_is_a_note_and_inside_a_statement_that_statements() -> None:
    comment = f'<code code="48767-8" {LOINC}/><text>Ask again.</text>{AUTHOR}'
    (alone,) = notes(of_sections((UNKNOWN, note(comment, "64"))))
    assert words(alone) == [("text/plain", "Ask again.")]
    inside = note(comment, "64").replace("entry>", "entryRelationship>")
    done = of_sections(
        (
            PROCEDURES,
            f"""<entry><procedure classCode="PROC" moodCode="EVN">
              <code code="1" codeSystem="2.999"/>{inside}</procedure></entry>""",
        )
    )
    assert notes(done) == []
    (told,) = one(done, "Procedure")["note"]
    assert (told["text"], told["time"]) == ("Ask again.", "2026-02-22T15:00:00+01:00")


def test_the_encounter_of_a_note_is_the_one_it_names() -> None:
    named = """<entryRelationship typeCode="COMP" inversionInd="true"><encounter><id root="2.999.9" extension="e7"/>
      </encounter></entryRelationship>"""
    done = of_sections((NOTES, note(f"{CODE}<text>Words</text>{named}")))
    (found,) = notes(done)
    assert found["context"]["encounter"] == [{"reference": f"Encounter/{one(done, 'Encounter')['id']}"}]


def test_two_notes_of_one_kind_and_day_are_two() -> None:
    one_, other = (note(f'{CODE}<text>{text}</text><effectiveTime value="20260222"/>') for text in ("One", "Other"))
    assert len(notes(of_sections((NOTES, one_ + other)))) == 2


# entry references -----------------------------------------------------------------------------------------------------

REFERENCE = """<act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.122"/>
  <id root="2.999.9" extension="{}"/><code nullFlavor="NP"/></act>"""
PROBLEM = """<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="c1"/>
  <code code="55607006"/>
  <value xsi:type="CD" code="74400008" codeSystem="2.16.840.1.113883.6.96"/></observation></entry>"""


def test_an_entry_reference_alone_is_what_it_points_at() -> None:
    done = of_sections((UNKNOWN, f"<entry>{REFERENCE.format('c1')}</entry>"), ("11450-4", PROBLEM))
    told = {each.tag: (each.outcome, each.resource) for each in done.tally}
    assert told["act"] == ("merged", f"Condition/{one(done, 'Condition')['id']}")


def test_an_entry_reference_to_nothing_is_told_of() -> None:
    done = of_sections((UNKNOWN, f"<entry>{REFERENCE.format('nowhere')}</entry>"))
    assert outcomes(done) == [("act", "narrative")]
    assert "dangling-reference" in codes(done)


# sections and pictures ------------------------------------------------------------------------------------------------


def test_the_time_range_belongs_to_the_section() -> None:
    ranged = """<entry><observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.201"/>
      <code code="82607-3" codeSystem="2.16.840.1.113883.6.1"/><value xsi:type="IVL_TS"><low value="2024"/>
      <high value="2026"/></value></observation></entry>"""
    done = of_sections(("30954-2", "<text>Results</text>" + ranged), (NOTES, "<text>Notes</text>" + ranged))
    sections = one(done, "Composition")["section"]
    told = [each["extension"][0]["valuePeriod"] for each in sections if "extension" in each]
    assert {"start": "2024", "end": "2026"} in told


def media(id_: str, data: str = PNG, kind: str = "image/png") -> str:
    return f"""<entry><observationMedia classCode="OBS" moodCode="EVN" ID="{id_}"><id root="2.999.9" extension="{id_}"/>
      <value xsi:type="ED" mediaType="{kind}" representation="B64">{data}</value></observationMedia></entry>"""


def test_a_picture_is_media_and_the_narrative_shows_it() -> None:
    text = '<text><renderMultiMedia referencedObject="m"/></text>'
    done = of_sections((UNKNOWN, text + media("m")))
    assert one(done, "Media")["content"]["contentType"] == "image/png"
    assert f'src="data:image/png;base64,{PNG}"' in one(done, "Composition")["section"][0]["text"]["div"]


def test_what_is_no_picture_is_not_shown_as_one() -> None:
    html = base64.b64encode(b"<script>alert(1)</script>").decode()
    text = '<text>See <renderMultiMedia referencedObject="m"/></text>'
    for kind in ("text/html", "image/svg+xml", "image/png"):
        done = of_sections((UNKNOWN, text + media("m", html, kind)))
        assert "src=" not in one(done, "Composition")["section"][0]["text"]["div"] or kind == "image/png"
        assert "script" not in one(done, "Composition")["section"][0]["text"]["div"]


def test_a_large_picture_is_a_binary() -> None:
    large = base64.b64encode(base64.b64decode(PNG) + bytes(40_000)).decode()
    done = of_sections((UNKNOWN, '<text><renderMultiMedia referencedObject="m"/></text>' + media("m", large)))
    url = one(done, "Media")["content"]["url"]
    assert url.startswith("Binary/")
    assert f'src="{url}"' in one(done, "Composition")["section"][0]["text"]["div"]


def test_a_region_shows_the_picture_that_it_marks() -> None:
    inner = media("m")[7:-8]
    region = f"""<entry><regionOfInterest classCode="ROIOVL" moodCode="EVN" ID="r">
      <id root="2.999.9" extension="r"/><code code="CIRCLE"/>
      <entryRelationship typeCode="SUBJ">{inner}</entryRelationship></regionOfInterest></entry>"""
    done = of_sections((UNKNOWN, '<text><renderMultiMedia referencedObject="r"/></text>' + region))
    assert len(every(done, "Media")) == 1
    assert "src=" in one(done, "Composition")["section"][0]["text"]["div"]
