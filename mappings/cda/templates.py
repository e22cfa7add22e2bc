"""Which domain maps the statements of a template: `templates.csv`, which `tools/compile_cda_templates.py` writes.

Columns: `root` and `extension` of the templateId; `tag`, its element; `domain`; `role`, the template's name, of a
section its LOINC code; `source`. A template refines what a section or a statement's code says and never overrules it:
vendors carry wrong ones. So its version is not asked for, and a root that two templates of different domains share, or
that is used in several (CCD's problem observation is an allergy's, too), has no domain.
Source: C-CDA R2.1 to R5, IHE PCC, CCD R1, eHDSI.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).parent / "templates.csv"


@dataclass(frozen=True, slots=True)
class Template:
    """What is known of a root. `domain` and `role` are "" where the statement's code must decide."""

    root: str
    tag: str
    domain: str
    role: str


@cache
def templates() -> Mapping[str, Template]:
    """Every template by its root."""
    found: dict[str, Template] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            made = Template(row["root"], row["tag"], row["domain"], row["role"])
            other = found.setdefault(made.root, made)
            if other != made:
                found[made.root] = replace(
                    other,
                    domain=other.domain if other.domain == made.domain else "",
                    role=other.role if other.role == made.role else "",
                )
    return found
