"""Statements of plans for tests."""

PLAN, GOALS, OUTCOMES, INTERVENTIONS = "18776-5", "61146-7", "11383-7", "62387-6"
PROBLEMS, TEAMS, PAYERS = "75310-3", "85847-2", "48768-6"
_CLASSES = {"observation": "OBS", "procedure": "PROC", "encounter": "ENC"}


def entry(*statements: str) -> str:
    """An entry each."""
    return "".join(f"<entry>{each}</entry>" for each in statements)


def statement(tag: str, content: str = "", *, mood: str = "INT", attributes: str = "", number: str = "s1") -> str:
    """A statement of a class, with a number of its own."""
    own = f'<id root="2.999.9" extension="{number}"/>' if number else ""
    return f'<{tag} classCode="{_CLASSES.get(tag, "ACT")}" moodCode="{mood}" {attributes}>{own}{content}</{tag}>'


def observation(content: str = "", *, mood: str = "EVN", attributes: str = "", number: str = "s1") -> str:
    return statement("observation", content, mood=mood, attributes=attributes, number=number)


def related(inner: str, kind: str = "REFR") -> str:
    return f'<entryRelationship typeCode="{kind}">{inner}</entryRelationship>'


def pointing(number: str, kind: str = "REFR") -> str:
    """A relationship to a statement elsewhere."""
    return related(
        f'<act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.122"/>'
        f'<id root="2.999.9" extension="{number}"/><code nullFlavor="NP"/><statusCode code="completed"/></act>',
        kind,
    )


def concern() -> str:
    """A health concern, c1, around one problem."""
    return """<entry><act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.132"/>
      <id root="2.999.9" extension="c1"/><code code="75310-3" codeSystem="2.16.840.1.113883.6.1"/>
      <statusCode code="active"/><entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.4"/><id root="2.999.9" extension="p1"/>
      <code code="55607006" codeSystem="2.16.840.1.113883.6.96"/><statusCode code="completed"/>
      <value xsi:type="CD" code="409623005" codeSystem="2.16.840.1.113883.6.96"/></observation></entryRelationship>
      </act></entry>"""
