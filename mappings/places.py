"""Where a patient lay, over the messages of a stay: Encounter.location joined, left, and told too late.

    at: when the message's event happened

A place is known by its start; without one, by what it may have been before (`_MEANT`). Who moves leaves a place behind,
who comes back opens it again. Old lists are never changed. How the rest of a resource is joined is `merge.py`'s.

Source: design chapter HL7 v2 §8, §9; FHIR R4 Period (per-1).
"""

from typing import Any

from mappings.hl7v2.periods import reversed_

Json = dict[str, Any]

_MEANT = {  # status of a place without a start → statuses of the stored place that it speaks of
    "active": ("active", "planned", "reserved", "completed"),
    "completed": ("active", "completed", "planned"),
    "planned": ("planned", "active"),
    "reserved": ("reserved",),
}
_EXPECTED = frozenset({"planned", "reserved"})
OVER = frozenset({"finished", "cancelled"})  # of a stay: nobody lies anywhere any more


def locations(old: list[Json], new: list[Json], at: str) -> list[Json]:
    """By place and start; a place without a start is the current one of that name. Who moves leaves a place behind."""
    joined = [dict(each) for each in old]
    named: list[int] = []
    for each in sorted(new, key=lambda place: place.get("status") != "active"):  # where she is claims its place first
        index = _known_place(joined, _where(each), each, named)
        if index is None:
            joined.append(each)
            index = len(joined) - 1
        else:
            period = joined_period(joined[index].get("period", {}), each.get("period", {}))
            joined[index] = joined[index] | each | ({"period": period} if period else {})
        named.append(index)
    if any(each.get("status") == "active" for each in new):
        for index, each in enumerate(joined):
            if index not in named and each.get("status") == "active":
                period = ended(each.get("period", {}), at)
                joined[index] = {**each, "status": "completed"} | ({"period": period} if period else {})
    for index in named:
        if joined[index].get("status") == "active" and "end" in joined[index].get("period", {}):
            joined[index] = _open_again(joined[index])
    return joined


def _open_again(place: Json) -> Json:
    """The patient lies there again: her stay in it has no end."""
    period = {name: value for name, value in place["period"].items() if name != "end"}
    return {name: value for name, value in place.items() if name != "period"} | ({"period": period} if period else {})


def _known_place(places: list[Json], place: str, new: Json, taken: list[int]) -> int | None:
    """Which of the stored places a new one speaks of: by its start, without one by what it may have been before. A
    place that was only expected has no start yet."""
    same = [i for i, each in enumerate(places) if _where(each) == place and i not in taken]
    start = new.get("period", {}).get("start")
    if start is not None:
        begun = [i for i in same if places[i].get("period", {}).get("start") == start]
        expected = [i for i in same if places[i].get("status") in _EXPECTED and "period" not in places[i]]
        fitting = begun or expected
        return fitting[0] if fitting else None
    if (end := new.get("period", {}).get("end")) is not None:  # said again, it is the place that was left then
        left = [
            i for i in same if (places[i].get("status"), places[i].get("period", {}).get("end")) == ("completed", end)
        ]
        if left:
            return left[-1]
    for status in _MEANT.get(new.get("status", ""), _MEANT["active"]):
        alike = [i for i in same if places[i].get("status") == status]
        if alike:
            return alike[-1]
    return None


def leave_places(body: Json, at: str) -> None:
    """The stay is over: who lay somewhere lies there no more, whether the message names the place or not."""
    end = body.get("period", {}).get("end") or at

    def left(place: Json) -> Json:
        period = ended(place.get("period", {}), end)
        return {**place, "status": "completed"} | ({"period": period} if period else {})

    if "location" in body:
        body["location"] = [left(each) if each.get("status") == "active" else each for each in body["location"]]


def past(old: Json, new: Json, element: str) -> Json:
    """A place taken in the past is no longer where the patient is, if another is or the stay is over."""
    if element != "location":
        return new
    over = old.get("status") in OVER
    held = [_spot(each) for each in old.get("location", ()) if each.get("status") == "active"]
    places = [
        {**each, "status": "completed"}
        if each.get("status") == "active" and (over or any(spot != _spot(each) for spot in held))
        else each
        for each in new[element]
    ]
    return {**new, element: places}


def _spot(place: Json) -> tuple[str, Any]:
    return _where(place), place.get("period", {}).get("start")


def joined_period(old: Json, new: Json) -> Json:
    """Bounds of both: what is new of one takes the place of all that was said of it. Whether they fit each other is
    `merge.py`'s to ask."""
    stated = {name.removeprefix("_") for name in new}
    return {name: value for name, value in old.items() if name.removeprefix("_") not in stated} | new


def ended(period: Json, at: str) -> Json:
    """The period with its end, where it has none and begins before."""
    if not at or "end" in period or ("start" in period and reversed_(period["start"], at)):
        return period
    return period | {"end": at}


def _where(place: Json) -> str:
    found = place.get("location", {})
    return str(found.get("reference") or found.get("display") or found.get("identifier"))
