"""US Core holds all races of a person in one extension; rows make one of each repetition of PID-10."""

from dataclasses import replace

from mappings.convert import Conversion, Mapped

RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"


def after(conversion: Conversion) -> Conversion:
    """The categories side by side, the texts joined; everything else as it is."""
    return replace(conversion, resources=tuple(_joined(mapped) for mapped in conversion.resources))


def _joined(mapped: Mapped) -> Mapped:
    found = mapped.body.get("extension", [])
    races = [each["extension"] for each in found if each["url"] == RACE]
    if mapped.body["resourceType"] != "Patient" or len(races) < 2:
        return mapped
    inner = [each for race in races for each in race if each["url"] != "text"]
    words = [each["valueString"] for race in races for each in race if each["url"] == "text"]
    joined = {"url": RACE, "extension": [*inner, {"url": "text", "valueString": ", ".join(words)}]}
    mapped.body["extension"] = [joined, *(each for each in found if each["url"] != RACE)]
    return mapped
