"""Sections go to their domain by LOINC code, statements' templates refine it, and no row is invented.

Source: C-CDA R2.1 to R5 (CC0 package hl7.cda.us.ccda 5.0.0-ballot), IPS 2.0 (CC0 package hl7.fhir.uv.ips), eHDSI value
set eHDSISection, IHE PaLM XD-LAB; LOINC Users' Guide (check digit).
"""

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mappings.cda.sections import LOINC, section_of, sections
from mappings.cda.templates import templates
from tools import compile_cda_templates as compiler

CDA = Path(__file__).parents[3] / "mappings/cda"
CCDA, IHE, EHDSI = "2.16.840.1.113883.10.20.", "1.3.6.1.4.1.19376.1.5.3.1.", "1.3.6.1.4.1.12559.11.10.1.3.1."

DOMAINS = {
    "allergy": "48765-2",
    "condition": """11450-4 11348-0 75310-3 46241-6 42347-5 11535-2 78375-3 10219-4 10218-6 59769-0 55109-3 59768-2""",
    "medication": "10160-0 42346-7 10183-2 75311-1 29549-3 57828-6 60590-7",
    "immunization": "11369-6",
    "device": "46264-8 55122-6 59771-6",
    "procedure": """47519-4 59772-4 10223-6 59774-0 29554-3 59776-5 59775-7 59773-2 59770-8 10216-0 11537-8""",
    "result": """30954-2 11493-4 18717-9 18718-7 18719-5 18720-3 18721-1 18722-9 18723-7 18724-5 18725-2 18727-8 18728-6
        18729-4 18767-4 18768-2 18769-0 26435-8 26436-6 26437-4 26438-2""",
    "vital": "8716-3 29545-1 10184-0 10210-3",
    "social": "29762-2",
    "pregnancy": "10162-6",
    "function": "47420-5 10190-7 61144-2",
    "plan": "18776-5 51847-2 51848-0 61146-7 11383-7 62387-6 69730-0 8653-8",
    "encounter": "46240-8",
    "family": "10157-6",
    "team": "85847-2",
    "payer": "48768-6",
    "directive": "42348-3",
    "note": """34109-9 11488-4 11506-3 18842-5 34117-2 28570-0 11504-8 34111-5 34746-8 57133-1 18761-7 11502-2 11526-1
        18748-4""",
    "narrative": """10154-3 46239-0 29299-5 42349-1 10164-2 10187-3 11329-0 8648-8 18841-7 61149-1 61150-9 104605-1
        81338-6""",
}
IPS = """11450-4 11348-0 48765-2 10160-0 11369-6 46264-8 47519-4 30954-2 8716-3 29762-2 10162-6 47420-5 18776-5 42348-3
    104605-1 81338-6"""
EHDSI_SECTIONS = """10160-0 10162-6 10164-2 11348-0 11369-6 11450-4 18776-5 29554-3 29762-2 30954-2 42348-3 46264-8
    47420-5 47519-4 48765-2 57828-6 60590-7 8716-3"""

# the last arcs of C-CDA's entry templates (…10.20.22.4); with more arcs, of …10.20
TEMPLATES = {
    "allergy": "30 7 28 9 8 145 24.3.90",
    "condition": "3 4 6 5 31 113 502 80 34 33 51 65 132 136 143 79",
    "medication": "16 42 147 23 24 25 17 18 19 20 36 35 118 123 508",
    "immunization": "52 120 54 53",
    "procedure": "14 12 13 41 415 32 37",
    "device": "50 43 135 311 301 302 303 304 305 308 309 314 315 316 317 318 319",
    "result": "1 2 421",
    "vital": "26 27 512",
    "social": "38 78 85 511 72 109 111 503 504 505 15.3.8 15.3.1 281 200 501 506 507 34.3.45",
    "function": "66 67 68 69 86 73 74 75 70 76 77 110 114 124 127 128 133 134 138",
    "family": "45 46 47",
    "plan": "121 144 131 146 130 140 141 518 39 40 44 129 509 510",
    "encounter": "49",
    "team": "500 22.4.500.1 22.4.500.2 22.4.500.3",
    "payer": "60 61 1.19",
    "directive": "48 108",
    "note": "202 64 115 122 201 24.3.88 516",
    "": "513 515 119 22.5.6 22.5.7 22.5.8",
}


def rows(name: str) -> list[dict[str, str]]:
    with (CDA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def root_of(arcs: str) -> str:
    return CCDA + (arcs if "." in arcs else f"22.4.{arcs}")


# sections -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loinc", "domain"), [(loinc, domain) for domain, codes in DOMAINS.items() for loinc in codes.split()]
)
def test_a_section_goes_to_its_domain(loinc: str, domain: str) -> None:
    assert section_of(loinc, LOINC).domain == domain


def test_every_section_is_there_once_and_no_other() -> None:
    found = [row["loinc"] for row in rows("sections.csv")]
    assert len(found) == len(set(found))
    assert set(found) == {loinc for codes in DOMAINS.values() for loinc in codes.split()}


def test_the_sections_of_the_patient_summary_are_named() -> None:
    named = {row.loinc: row.ips for row in sections().values() if row.ips}
    assert set(named) == set(IPS.split())
    assert len(set(named.values())) == 16


def test_the_sections_of_ehdsi_are_all_there() -> None:
    assert set(EHDSI_SECTIONS.split()) <= set(sections())


@pytest.mark.parametrize("row", rows("sections.csv"), ids=lambda row: row["loinc"])
def test_a_row_is_whole(row: dict[str, str]) -> None:
    assert row["title"]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["name"])
    assert re.match(r"hl7\.cda\.us\.ccda |hl7\.fhir\.uv\.ips |eHDSI |C-CDA R|IHE PaLM ", row["source"])
    assert row["alias"] == "" or sections()[row["alias"]].domain == row["domain"]


def test_names_are_told_apart() -> None:
    names = [row.name for row in sections().values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("loinc", list(sections()))
def test_a_code_has_the_check_digit_of_loinc(loinc: str) -> None:
    """A mistyped code would send a section into the narrative and nobody would know."""
    number, digit = loinc.split("-")
    doubled = [int(each) * 2 if place % 2 == 0 else int(each) for place, each in enumerate(reversed(number))]
    assert -sum(sum(map(int, str(each))) for each in doubled) % 10 == int(digit)


CATEGORIES = {
    "condition": {"problem-list-item", "encounter-diagnosis", "health-concern"},
    # FHIR R4 observation-category
    "other": {"social-history", "vital-signs", "imaging", "laboratory", "procedure", "survey", "exam", "therapy", ""},
}


def test_categories_are_those_of_fhir() -> None:
    strangers = {
        row.loinc
        for row in sections().values()
        if row.category not in CATEGORIES["condition" if row.domain == "condition" else "other"]
    }
    assert strangers == set()


# a section's code, its templates, the profile ------------------------------------------------------------------------

ALLERGIES = CCDA + "22.2.6"


@pytest.mark.parametrize(
    ("code", "system", "roots", "local", "expected"),
    [
        ("48765-2", LOINC, [], None, ("48765-2", "allergy")),
        (" 48765-2\n", LOINC, [], None, ("48765-2", "allergy")),
        ("48765-2", "", [], None, ("48765-2", "allergy")),
        ("48765-2", "2.999", [], None, ("48765-2", "allergy")),  # vendors name value sets and worse
        ("48765-2", LOINC, [CCDA + "22.2.5"], None, ("48765-2", "allergy")),  # a wrong template does not overrule it
        ("", "", [ALLERGIES], None, ("48765-2", "allergy")),
        ("", "", ["2.999", ALLERGIES + ".1"], None, ("48765-2", "allergy")),
        ("X", "2.999", [ALLERGIES], None, ("48765-2", "allergy")),
        ("", "", [CCDA + "22.4.30"], None, ("", "narrative")),  # the template of an entry says nothing of a section
        ("", "", [], None, ("", "narrative")),
        ("1-8", LOINC, [], None, ("1-8", "narrative")),
        ("X", "2.999", [], None, ("", "narrative")),
        ("X-LOCAL", "2.999", [], {"X-LOCAL": "result"}, ("X-LOCAL", "result")),
        ("48765-2", LOINC, [], {"48765-2": "narrative"}, ("48765-2", "narrative")),
        ("48765-2", LOINC, [], {"X-LOCAL": "result"}, ("48765-2", "allergy")),
        ("", "", [], {"": "result"}, ("", "narrative")),
    ],
)
def test_code_then_template_then_nothing_known(
    code: str, system: str, roots: list[str], local: dict[str, str] | None, expected: tuple[str, str]
) -> None:
    found = section_of(code, system, roots, local)
    assert (found.loinc, found.domain) == expected


# templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "domain"), [(root_of(arcs), domain) for domain, every in TEMPLATES.items() for arcs in every.split()]
)
def test_a_template_goes_to_its_domain(root: str, domain: str) -> None:
    assert templates()[root].domain == domain


EUROPE = {
    "allergy": (EHDSI, "3.16 3.17 3.44", IHE, "4.5.3 4.6"),
    "condition": (EHDSI, "3.7 3.9 3.10 3.15", IHE, "4.5.2 4.1.1 4.1.2"),
    "medication": (EHDSI, "3.1 3.2 3.3 3.4", IHE, "4.7.1"),
    "immunization": (EHDSI, "3.19 3.18", IHE, "4.12"),
    "procedure": (EHDSI, "3.26", IHE, "4.19"),
    "device": (EHDSI, "3.5", IHE, ""),
    "vital": (EHDSI, "3.21 3.22", IHE, "4.13.1 4.13.2"),
    "social": (EHDSI, "3.23 3.24", IHE, "4.13.4 4.13.5"),
    "result": (EHDSI, "3.25 3.42 3.43", IHE, ""),
}


@pytest.mark.parametrize("domain", list(EUROPE))
def test_a_european_template_goes_to_the_same_domain(domain: str) -> None:
    ehdsi, its, ihe, theirs = EUROPE[domain]
    roots = [ehdsi + each for each in its.split()] + [ihe + each for each in theirs.split()]
    assert {templates()[root].domain for root in roots} == {domain}


@pytest.mark.parametrize(
    ("root", "used_by"),
    [
        (CCDA + "1.24", "medications and immunizations"),
        (CCDA + "1.27", "problems and allergies"),
        (CCDA + "1.28", "problems and allergies"),
        (CCDA + "1.32", "results and vital signs"),
        (IHE + "4.5", "problems and allergies"),
        (IHE + "4.5.1", "problems and allergies"),
        (IHE + "4.13", "pregnancy, social history, vital signs"),
        (CCDA + "22.4.513", "sex parameter, advance directive"),
        (CCDA + "22.4.515", "interpreter, instruction"),
    ],
)
def test_a_template_of_several_domains_has_none(root: str, used_by: str) -> None:
    """The statement's code or its other templates decide; guessing would file an allergy as a problem."""
    assert templates()[root].domain == ""


@pytest.mark.parametrize(
    ("root", "loinc"),
    [
        (CCDA + "22.2.6.1", "48765-2"),
        (CCDA + "22.2.6", "48765-2"),
        (CCDA + "22.2.65", "34109-9"),
        (CCDA + "22.2.33", "55122-6"),
        (IHE + "3.13", "48765-2"),
        (CCDA + "1.8", "10160-0"),
        (EHDSI + "2.1", "57828-6"),
        (EHDSI + "2.12", "48765-2"),
        (EHDSI + "2.15", "11369-6"),
    ],
)
def test_a_section_template_names_its_loinc_code(root: str, loinc: str) -> None:
    template = templates()[root]
    assert (template.tag, template.role, template.domain) == ("section", loinc, sections()[loinc].domain)


SOURCES = re.compile(
    r"hl7\.cda\.us\.ccda 5\.0\.0-ballot \w+|C-CDA R(1\.1|2\.1) .+|IHE PCC TF-2 .+|CCD R1 .+|eHDSI( \w.*)?"
)


def test_no_template_is_without_a_source() -> None:
    assert {row["root"] for row in rows("templates.csv") if not SOURCES.fullmatch(row["source"])} == set()


def test_domains_are_those_of_the_sections() -> None:
    assert {row["domain"] for row in rows("templates.csv")} <= set(DOMAINS) | {""}


def test_rows_are_sorted_and_told_apart() -> None:
    found = rows("templates.csv")
    assert found == sorted(found, key=compiler.arcs)
    assert len({(row["root"], row["role"]) for row in found}) == len(found)


@pytest.mark.node
def test_the_tables_are_what_the_packages_say(tmp_path: Path) -> None:
    """The packages are fetched with npm, or taken from `CHARTBRIDGE_CDA_PACKAGES`, and compiled anew."""
    folder = os.environ.get("CHARTBRIDGE_CDA_PACKAGES")
    if folder is None and shutil.which("npm") is None:
        pytest.skip("no npm to fetch the packages with: set CHARTBRIDGE_CDA_PACKAGES")
    copies = [Path(folder or tmp_path) / f"{name.replace('@', '-')}.tgz" for name in (compiler.CCDA, compiler.IPS)]
    try:
        for name in () if folder else (compiler.CCDA, compiler.IPS):
            compiler.fetch(name, tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("npm could not fetch the packages")
    assert compiler.main(["--ccda", str(copies[0]), "--ips", str(copies[1]), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "templates.csv").read_bytes() == (CDA / "templates.csv").read_bytes()
