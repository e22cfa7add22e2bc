"""What runs beside us: few distributions, none under a licence that reaches into the product (operations chapter §12).

The walk starts at our own requirements, with the extras that a test names, and follows what each distribution itself
requires here.
"""

import re
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
MOST = 45
RECIPROCAL = re.compile(r"\b(?:A|L)?GPL|GNU (?:Affero |Lesser |Library )?General Public", re.IGNORECASE)


def needs(text: str, extras: frozenset[str]) -> list[Requirement]:
    requirement = Requirement(text)
    if requirement.marker is None:
        return [requirement]
    return [requirement] if any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}) else []


@cache
def runtime(*extras: str) -> dict[str, metadata.Distribution]:
    """Every distribution that the core, with these extras, needs at run time, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    waiting += [Requirement(text) for extra in extras for text in project["optional-dependencies"][extra]]
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name, more = re.sub(r"[-_.]+", "-", wanted.name).lower(), frozenset(wanted.extras)
        if (name, more) in seen:
            continue
        seen.add((name, more))
        found[name] = metadata.distribution(name)
        waiting += [need for text in found[name].requires or () for need in needs(text, more)]
    return found


def licence(distribution: metadata.Distribution) -> str:
    """What a distribution says of its licence: the SPDX expression, else the classifiers, else the old field."""
    said = distribution.metadata
    expression, old = ("".join(said.get_all(key) or ()) for key in ("License-Expression", "License"))
    classifiers = [text for text in said.get_all("Classifier") or () if text.startswith("License ::")]
    return expression or "; ".join(classifiers) or old.strip().partition("\n")[0]


@pytest.mark.parametrize("name", sorted(runtime("postgres")))
def test_no_runtime_distribution_is_under_a_reciprocal_licence(name: str) -> None:
    said = licence(runtime("postgres")[name])
    assert said, "a licence that nobody states is none"
    assert not RECIPROCAL.search(said)


def test_the_core_stays_small() -> None:
    assert len(runtime()) < MOST


@pytest.mark.parametrize(
    ("text", "reciprocal"),
    [
        ("LGPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", True),
        ("GPLv2", True),
        ("MPL-2.0", False),
        ("Apache-2.0 OR BSD-3-Clause", False),
        ("License :: OSI Approved :: MIT License", False),
    ],
)
def test_the_gate_knows_one_when_it_sees_it(text: str, reciprocal: bool) -> None:
    assert bool(RECIPROCAL.search(text)) == reciprocal
