"""Generate the vocabulary tables from published packages.

    python -m tools.compile_terminology --r4 hl7.fhir.r4.examples-4.0.1.tgz --tho hl7.terminology.r4-7.0.1.tgz \\
        --guide DIR --ucum ucum-essence.xml --iso639 2.js

reads the two npm packages (`npm pack hl7.fhir.r4.examples@4.0.1`, `npm pack hl7.terminology.r4@7.0.1`, both CC0), the
`codesystems` folder of the HL7 v2-to-FHIR guide (CC0), UCUM's table of units (its symbols alone) and the list of ISO
639-2 in `npm pack iso-639-2@3.0.2` (MIT), and writes in `mappings/terminology/`: `systems.csv`, `tables.csv`,
`v3_codes.csv`, `countries.csv`, `ucum.csv`, `ucum_atoms.csv` and the maps named below; other maps are written by hand.
What the guide leaves open or has wrong stands in `terminology_rows.csv` beside this file, a reason and a source a row;
those rows win.
"""

import argparse
import csv
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Json = dict[str, Any]

_HERE = Path(__file__).parent
_OUT = _HERE.parent / "mappings" / "terminology"
_ROWS = _HERE / "terminology_rows.csv"
_V2 = "http://terminology.hl7.org/CodeSystem/v2-"
_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
_GUIDE = "v2-to-FHIR guide, {sheet}"
_THO = "hl7.terminology.r4 7.0.1"
_R4 = "hl7.fhir.r4.examples 4.0.1"

# map -> sheet of the guide ("" where only terminology_rows.csv fills it)
_MAPS = {
    "gol-18.goal-status": "",
    "prb-13.condition-ver-status": "",
    "prb-14.condition-clinical": "",
    "pth-5.request-status": "",
    "v2-0001.administrative-gender": "AdministrativeSex",
    "v2-0002.marital-status": "MaritalStatus",
    "v2-0004.v3-ActCode": "PatientClass[EncounterClass]",
    "v2-0006.religious-affiliation": "Religion",
    "v2-0007.admission-type": "AdmissionType",
    "v2-0017.charge-item-status": "",
    "v2-0027.request-priority": "",
    "v2-0038.medication-request-status": "",
    "v2-0038.request-status": "",
    "v2-0052.diagnosis-role": "DiagnosisType",
    "v2-0063.relationship": "Relationship",
    "v2-0074.diagnostic-service": "DiagnosticServiceSectionID",
    "v2-0078.observation-interpretation": "InterpretationCodes",
    "v2-0085.observation-status": "",
    "v2-0092.readmission": "ReadmissionIndicator",
    "v2-0116.bed-status": "BedStatus",
    "v2-0119.medication-request-status": "",
    "v2-0119.request-status": "",
    "v2-0123.diagnostic-report-status": "",
    "v2-0127.allergy-category": "AllergenType[AllergyIntoleranceCategory]",
    "v2-0127.allergy-type": "AllergyType",
    "v2-0128.allergy-criticality": "AllergySeverity[AllergyIntolerance.criticality]",
    "v2-0131.contact-role": "ContactRole",
    "v2-0162.route": "",
    "v2-0183.location-status": "",
    "v2-0190.address-type": "AddressType[Type]",
    "v2-0190.address-use": "AddressType[Use]",
    "v2-0200.name-use": "NameType",
    "v2-0201.contact-point-use": "TelecommunicationUseCode",
    "v2-0202.contact-point-system": "TelecommunicationEquipmentType",
    "v2-0207.processing-mode": "ProcessingMode",
    "v2-0217.act-priority": "EncounterPriority",
    "v2-0280.request-priority": "",
    "v2-0283.request-status": "",
    "v2-0322.immunization-status": "",
    "v2-0322.medication-admin-status": "",
    "v2-0335.repeat-pattern": "",
    "v2-0436.allergy-type": "",
    "v2-0444.name-assembly-order": "NameAssemblyOrder",
    "v2-0482.medication-request-category": "",
    "v2-0485.request-priority": "",
}

# Maps whose targets R4's code system words otherwise than hl7.terminology does: HL7's validator takes no display then
_NO_DISPLAY = frozenset({"v2-0335.repeat-pattern"})

# Table 0396 mnemonics -> the name or URL under which hl7.terminology registers the system
_MNEMONICS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "ICD10CA": "http://hl7.org/fhir/sid/icd-10-ca",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9CDX": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9CP": "http://hl7.org/fhir/sid/icd-9-cm",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "MVX": "http://hl7.org/fhir/sid/mvx",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "C4": "http://www.ama-assn.org/go/cpt",
    "HCPCS": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "WC": "http://www.whocc.no/atc",
    "MDC": "urn:iso:std:iso:11073:10101",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "CDCREC": "urn:oid:2.16.840.1.113883.6.238",
    "FDAUNII": "http://fdasis.nlm.nih.gov",
    "NDFRT": "http://hl7.org/fhir/ndfrt",
    "ICF": "http://hl7.org/fhir/sid/icf",
    "MEDR": "https://www.meddra.org",
    "NCIT": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "ACTCODE": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "NULLFL": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
    "ROLECODE": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
    "ROLECLASS": "http://terminology.hl7.org/CodeSystem/v3-RoleClass",
    "HGNC-SYMB": "http://www.genenames.org",
    "ISO3166_1": "urn:iso:std:iso:3166",
    "ISO3166_2": "urn:iso:std:iso:3166:-2",
    "HPC": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "HCPT": "http://nucc.org/provider-taxonomy",
    "I9": "http://terminology.hl7.org/CodeSystem/icd9",
    "NDA": "http://www.nanda.org/",
    "RC": "http://terminology.hl7.org/CodeSystem/read-Codes",
    "DAR": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
    "HGVS.C": "http://varnomen.hgvs.org",
    "HGVS.G": "http://varnomen.hgvs.org",
    "HGVS.P": "http://varnomen.hgvs.org",
    "REFSEQ-G": "http://www.ncbi.nlm.nih.gov/refseq",
    "REFSEQ-P": "http://www.ncbi.nlm.nih.gov/refseq",
    "REFSEQ-T": "http://www.ncbi.nlm.nih.gov/refseq",
    "CDCINDUSTRY2010": "http://terminology.hl7.org/CodeSystem/PHIndustryCDCCensus2010",
    "CDCOCCUPATION2010": "http://terminology.hl7.org/CodeSystem/PHOccupationCDCCensus2010",
    "UB04FL14": "https://www.nubc.org/CodeSystem/PriorityTypeOfAdmitOrVisit",
    "UB04FL15": "https://www.nubc.org/CodeSystem/PointOfOrigin",
    "UB04FL17": "https://www.nubc.org/CodeSystem/PatDischargeStatus",
    "UB04FL31": "http://terminology.hl7.org/CodeSystem/v2-0350",
    "UB04FL35": "http://terminology.hl7.org/CodeSystem/v2-0351",
    "UB04FL39": "https://www.nubc.org/CodeSystem/ValueCodesAndAmounts",
    "UB04FL42": "https://www.nubc.org/CodeSystem/RevenueCodes",
    "UB04FL67": "http://terminology.hl7.org/CodeSystem/v2-0895",
}
# Systems that R4 itself names and hl7.terminology registers under another URI
_R4_NAMES = {"ISO4217": "urn:iso:std:iso:4217", "MEDIATYPE": "urn:ietf:bcp:13"}
# Symbols that mean one thing in UCUM and another on a laboratory's screen (kelvin, farad, coulomb, Gauss, ampere …)
_AMBIGUOUS = frozenset(
    "A B C F G H J K N P R S T U V W a b t u st ar ph AU Ao pc Ms Ky Mx Bi By Bd St '' ' 1 10^".split()
)


def package(path: Path, *prefixes: str) -> Iterator[Json]:
    """The resources of an npm package whose file names begin so."""
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            if name.startswith(prefixes) and name.endswith(".json") and (file := archive.extractfile(member)):
                yield json.load(file)


def concepts(parent: Json) -> Iterator[Json]:
    """A code system's concepts, nested ones too."""
    for concept in parent.get("concept", ()):
        yield concept
        yield from concepts(concept)


def read_rows() -> list[dict[str, str]]:
    with _ROWS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# systems.csv --------------------------------------------------------------------------------------------------------


def systems(tho: Path) -> list[list[str]]:
    """The mnemonics of table 0396 that have a registered URI, OIDs of naming and code systems; and our own rows."""
    oids: dict[str, str] = {}
    registered: set[str] = set()
    for system in package(tho, "NamingSystem-"):
        uris = [entry for entry in system.get("uniqueId", ()) if entry.get("type") == "uri"]
        uris.sort(key=lambda entry: not entry.get("preferred"))
        registered |= {entry["value"] for entry in uris}
        for entry in system.get("uniqueId", ()):
            if entry.get("type") == "oid" and uris:
                oids.setdefault(entry["value"].removeprefix("urn:oid:"), uris[0]["value"])
    for system in package(tho, "CodeSystem-"):
        registered.add(system.get("url", ""))
        for identifier in system.get("identifier", ()):
            value = identifier.get("value", "")
            if value.startswith("urn:oid:") and "url" in system:
                oids.setdefault(value.removeprefix("urn:oid:"), system["url"])
    if unknown := sorted(set(_MNEMONICS.values()) - registered):
        sys.exit(f"not registered in {_THO}: {unknown}")
    names = _named(tho, oids) | _MNEMONICS | _R4_NAMES
    rows = [[name, "mnemonic", uri, f"HL7 table 0396; {_THO}"] for name, uri in sorted(names.items())]
    rows += [[oid, "oid", uri, _THO] for oid, uri in sorted(oids.items())]
    own = [row for row in read_rows() if row["map"].startswith("systems-")]
    known = {key for key, *_ in rows}
    if again := [row["code"] for row in own if row["code"] in known]:
        sys.exit(f"registered in {_THO}, and again in {_ROWS.name}: {again}")
    return rows + [[row["code"], row["map"].removeprefix("systems-"), row["target"], row["source"]] for row in own]


def _named(tho: Path, oids: dict[str, str]) -> dict[str, str]:
    """Mnemonics of table 0396 that a naming system bears as its name, or whose OID the table's comment gives."""
    by_name: dict[str, str] = {}
    for system in package(tho, "NamingSystem-"):
        uris = [entry for entry in system.get("uniqueId", ()) if entry.get("type") == "uri"]
        uris.sort(key=lambda entry: not entry.get("preferred"))
        for name in (system["name"], system.get("title", "")) if uris else ():
            by_name.setdefault(_letters(name), uris[0]["value"])
    found: dict[str, str] = {}
    for table in package(tho, "CodeSystem-v2-0396"):
        for concept in concepts(table):
            words = " ".join(str(each.get("valueString", "")) for each in concept.get("property", ()))
            known = [oids[oid] for oid in re.findall(r"\b[012](?:\.\d+){4,}\b", words) if oid in oids]
            uri = by_name.get(_letters(concept["code"])) or next(iter(known), None)
            if uri is not None:
                found[concept["code"].upper()] = uri
    return found


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# tables.csv ---------------------------------------------------------------------------------------------------------


def tables(r4: Path, tho: Path) -> list[list[str]]:
    """The codes of HL7's tables; 0396, 0354 and 0399 name systems, structures and countries and are not needed."""
    found: dict[tuple[str, str], str] = {}
    for path, source in ((tho, _THO), (r4, _R4)):
        for system in package(path, "CodeSystem-v2-"):
            table = system["url"].removeprefix(_V2)
            if len(table) == 4 and table.isdigit() and table not in ("0396", "0354", "0399"):
                for concept in concepts(system):
                    found.setdefault((table, concept["code"]), source)
    rows = [[table, code, f"{_V2}{table}", source] for (table, code), source in found.items() if code.strip(".")]
    own = [row for row in read_rows() if row["map"].startswith("table-")]
    rows += [[row["map"].removeprefix("table-"), row["code"], row["system"], row["source"]] for row in own]
    return sorted(rows)


# v3_codes.csv -------------------------------------------------------------------------------------------------------


def v3_codes(tho: Path) -> list[list[str]]:
    """The codes of HL7's v3 code systems, of those that are published whole. R4's own copies of them have no others."""
    rows = []
    for system in package(tho, "CodeSystem-v3-"):
        codes = sorted(concept["code"] for concept in concepts(system))
        if system["content"] != "complete" or not system["url"].startswith(_V3) or not codes:
            continue
        if any("|" in code for code in codes):
            sys.exit(f"{system['url']}: a code holds the separator")
        rows.append([system["url"], "yes" if system["caseSensitive"] else "no", "|".join(codes), _THO])
    return sorted(rows)


# countries.csv, languages ---------------------------------------------------------------------------------------------


def countries(guide: Path) -> list[list[str]]:
    """ISO 3166-1: three letters from the guide's sheet of table 0399, two from the time zone database's list."""
    rows = [[code, "alpha-3", _GUIDE.format(sheet="CountryCode")] for code in guide_rows(guide, "CountryCode")]
    listed = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text("utf-8").splitlines()
    rows += [[line[:2], "alpha-2", "tzdata, iso3166.tab"] for line in listed if line and not line.startswith("#")]
    return sorted(rows)


def languages(iso639: Path, guide: Path) -> list[list[str]]:
    """Codes of ISO 639-1 and 639-2 (both forms) and the guide's tags, to tags: two letters where there are two."""
    path = guide / "HL7 Concept Map_ PrimaryLanguage - Sheet1.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        tags = {row[6].strip(): "PrimaryLanguage" for row in list(csv.reader(file))[2:] if row[6].strip()}
    found = {tag: [tag, tag, _GUIDE.format(sheet=sheet)] for tag, sheet in tags.items()}
    for entry in re.findall(r"\{\s*name:.*?\}", iso639.read_text("utf-8"), re.DOTALL):
        codes = re.findall(r"iso639\w+: '([a-z]{2,3})'", entry)
        shortest = min(reversed(codes), key=len, default="")  # the terminological form before the bibliographic
        for code in codes:
            found.setdefault(code, [code, shortest, "ISO 639-2, by npm iso-639-2 3.0.2; RFC 5646 §2.2.1"])
    kinds = ("equal", "equivalent")
    return [
        [code, tag, "urn:ietf:bcp:47", "", kinds[code != tag], "", source]
        for code, tag, source in sorted(found.values())
    ]


# ucum.csv -----------------------------------------------------------------------------------------------------------


def ucum(r4: Path) -> list[list[str]]:
    """R4's common UCUM codes as themselves, and the everyday spellings of terminology_rows.csv."""
    found: dict[str, list[str]] = {}
    for valueset in package(r4, "ValueSet-ucum-common"):
        for include in valueset["compose"]["include"]:
            for concept in include.get("concept", ()):
                code = concept["code"]
                if code not in _AMBIGUOUS and "^" not in code:
                    found[code] = [code, code, "R4 value set ucum-common"]
    for row in read_rows():
        if row["map"] == "ucum":
            found[row["code"]] = [row["code"], row["target"], row["source"]]
    return [found[unit] for unit in sorted(found)]


def ucum_atoms(essence: Path) -> list[list[str]]:
    """The symbols of UCUM's prefixes and units, as its machine-readable table lists them; nothing else of it."""
    space = "{http://unitsofmeasure.org/ucum-essence}"
    root = ElementTree.parse(essence).getroot()  # noqa: S314 - a file we chose ourselves
    source = f"UCUM {root.get('version')}, table of units"
    rows = [[each.attrib["Code"], "prefix", source] for each in root.findall(f"{space}prefix")]
    rows += [[each.attrib["Code"], "metric", source] for each in root.findall(f"{space}base-unit")]
    for each in root.findall(f"{space}unit"):
        rows.append([each.attrib["Code"], "metric" if each.get("isMetric") == "yes" else "plain", source])
    return sorted(rows, key=lambda row: (row[1] != "prefix", row))


# maps ---------------------------------------------------------------------------------------------------------------


def guide_rows(guide: Path, sheet: str) -> dict[str, list[str]]:
    """Rows of one sheet: columns 0 code, 1 text, 6 target, 8 display, 9 system; some sheets lack the blank seventh."""
    path = guide / f"HL7 Concept Map_ {sheet} - Sheet1.csv"
    found: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in list(csv.reader(file))[2:]:
            cells = [cell.strip() for cell in line] + [""] * 12
            if "://" in cells[8]:
                cells.insert(7, "")
            code, target, system = cells[0], cells[6], cells[9]
            if not code or code in found:
                continue
            display = (cells[8] or cells[7]) if target else ""
            kind = ("equal" if code == target else "equivalent") if target else "unmatched"
            found[code] = [code, target, system if target else "", display, kind, "", _GUIDE.format(sheet=sheet)]
    return found


def vocabulary(name: str, sheet: str, guide: Path, official: dict[tuple[str, str], str]) -> list[list[str]]:
    """One map: the guide's rows, then ours over them. A display is the code system's own, or none."""
    found = guide_rows(guide, sheet) if sheet else {}
    for row in read_rows():
        if row["map"] == name:
            columns = ("code", "target", "system", "display", "equivalence", "note", "source")
            found[row["code"]] = [row[column] for column in columns]
    for row_ in found.values():
        row_[3] = "" if name in _NO_DISPLAY else official.get((row_[2], row_[1]), "")
    return [found[code] for code in sorted(found)]


def displays(r4: Path, tho: Path) -> dict[tuple[str, str], str]:
    """(system, code) -> display, as the code systems themselves give it; hl7.terminology is the newer one."""
    found: dict[tuple[str, str], str] = {}
    for path in (r4, tho):
        for system in package(path, "CodeSystem-"):
            for concept in concepts(system):
                if "display" in concept:
                    found[(system.get("url", ""), concept["code"])] = concept["display"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="compile the vocabulary tables")
    parser.add_argument("--r4", type=Path, required=True, help="hl7.fhir.r4.examples-4.0.1.tgz")
    parser.add_argument("--tho", type=Path, required=True, help="hl7.terminology.r4-7.0.1.tgz")
    parser.add_argument("--guide", type=Path, required=True, help="the guide's folder codesystems")
    parser.add_argument("--ucum", type=Path, required=True, help="ucum-essence.xml, as ucumvert ships it")
    parser.add_argument("--iso639", type=Path, required=True, help="2.js of iso-639-2")
    given = parser.parse_args()
    write(_OUT / "systems.csv", ["key", "kind", "uri", "source"], systems(given.tho))
    write(_OUT / "tables.csv", ["table", "code", "system", "source"], tables(given.r4, given.tho))
    write(_OUT / "v3_codes.csv", ["system", "case_sensitive", "codes", "source"], v3_codes(given.tho))
    write(_OUT / "ucum.csv", ["unit", "code", "source"], ucum(given.r4))
    write(_OUT / "ucum_atoms.csv", ["code", "kind", "source"], ucum_atoms(given.ucum))
    write(_OUT / "countries.csv", ["code", "kind", "source"], countries(given.guide))
    official = displays(given.r4, given.tho)
    header = ["code", "target", "system", "display", "equivalence", "note", "source"]
    write(_OUT / "maps" / "v2-0296.bcp-47.csv", header, languages(given.iso639, given.guide))
    for name, sheet in _MAPS.items():
        write(_OUT / "maps" / f"{name}.csv", header, vocabulary(name, sheet, given.guide, official))
    return 0


if __name__ == "__main__":
    sys.exit(main())
