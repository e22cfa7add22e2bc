"""Compile the R4 4.0.1 definitions to the table that everything in `mappings/fhir/` reads.

`make schema` runs it: the npm package `hl7.fhir.r4.examples` 4.0.1 (CC0) is fetched with `npm pack`, or taken from
`--package`, its integrity is compared with the digest pinned here, and two files are written byte for byte the same
on every machine: `mappings/fhir/r4.json` and `mappings/fhir/deflate.dict` (by `deflate_dictionary.py`).

Rules of the table, one per function below:

- snapshots, never differentials; profiles (`derivation=constraint`) and logical models are left out, but an element
  that must fit a profile of the standard (`SimpleQuantity`) declares the constraints of that profile
- one list of elements per path that has children, in the standard's order; an element that has children of its own is
  typed by that path, and so is a `contentReference`
- required bindings are closed sets, system by system; what the package cannot list has `null` instead of a set
- a search expression keeps the branches of its base type only
- what `mappings/fhir/errata.csv` overrides is replaced, and the compilation stops if the definition no longer says
  what the erratum claims it says

Source: FHIR R4 4.0.1, StructureDefinition, ElementDefinition, SearchParameter, CompartmentDefinition,
OperationDefinition.
"""

import argparse
import base64
import csv
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.deflate_dictionary import dictionary

Json = dict[str, Any]

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
INTEGRITY = (
    "DXBdIZOeQaSKIgCU7w6HOC7sw/6BzylmipLkBW4f//pT+Bc94x+8LImwTdvaNThPJoOzpBzvxAzNqjeu3X/zLw=="  # sha512, npm's own
)
TARGET = Path(__file__).resolve().parent.parent / "mappings" / "fhir"

DEFINITIONS = ("Bundle-types.json", "Bundle-resources.json")
SEARCH = "Bundle-searchParams.json"
EXPANSIONS = "Bundle-valueset-expansions.json"
TERMINOLOGY = ("Bundle-valuesets.json", "Bundle-v3-valuesets.json")

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = STRUCTURE + "structuredefinition-fhir-type"
REGEX = STRUCTURE + "regex"
VALUESET = "http://hl7.org/fhir/ValueSet/"

ALL_TARGETS = 145  # every resource type but Parameters: what a search parameter lists that refers to anything
SUMMARY, MODIFIER, XML_ATTRIBUTE = 1, 2, 4  # the flags of an element

# The package holds an expansion of `ucum-units` that lists common units only, and none of the other two.
UNLISTED = {"mimetypes", "ucum-units", "http://loinc.org/vs/LL379-9"}

# The hierarchies that security labels and purposes of use are compared in.
HIERARCHIES = {"v3-ActCode", "v3-ActReason", "v3-Confidentiality"}


class CompileError(Exception):
    """The package is not the pinned one, or does not say what this compiler relies on."""


def fetch(folder: Path) -> Path:
    """Download the package with the npm client; npm prints the name of the file it wrote as its last line."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGE]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a fixed command
    return folder / done.stdout.split()[-1]


def check_integrity(package: Path) -> None:
    """Refuse any bytes but those that npm published under this version."""
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise CompileError(f"{PACKAGE} has the wrong integrity: expected sha512-{INTEGRITY}, got sha512-{found}")


def read_package(package: Path) -> dict[str, bytes]:
    """Every JSON file of the package by its name, in the order of their names."""
    with tarfile.open(package, "r:gz") as archive:
        files = {}
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content is not None:
                files[Path(member.name).name] = content.read()
    return dict(sorted(files.items()))


def resources(files: dict[str, bytes], names: Iterable[str], kind: str) -> Iterator[Json]:
    """The resources of one type in the named Bundles, in their order."""
    for name in names:
        for entry in json.loads(files[name])["entry"]:
            if entry["resource"]["resourceType"] == kind:
                yield entry["resource"]


class Errata:
    """The overrides of `errata.csv`. Each must be met exactly where it says, else it is out of date."""

    def __init__(self, rows: Iterable[dict[str, str]]) -> None:
        self._rows = {(row["kind"], row["where"]): row for row in rows}
        self._unused = set(self._rows)

    def apply(self, kind: str, where: str, declared: str) -> str:
        """What to use instead of a declared text; the text itself where nothing overrides it."""
        row = self._rows.get((kind, where))
        if row is None:
            return declared
        if row["declared"] != declared:
            raise CompileError(f"erratum {where} is out of date: expected {row['declared']!r}, got {declared!r}")
        self._unused.discard((kind, where))
        return row["used"]

    def finish(self) -> None:
        """Raise if an erratum names something that does not exist."""
        if self._unused:
            raise CompileError(f"errata that override nothing: {sorted(self._unused)}")


def last(url: str) -> str:
    """The last segment of a canonical URL, without its version."""
    return url.split("|")[0].rsplit("/", 1)[-1]


def valueset_name(url: str) -> str:
    """A value set's short name where FHIR itself defines it, its URL elsewhere."""
    return url.split("|")[0].removeprefix(VALUESET)


def declared_type(kind: Json) -> str:
    """The FHIR type of an element; where a FHIRPath system type stands, its extension says which is meant."""
    for extension in kind.get("extension", ()):
        if extension["url"] == FHIR_TYPE:
            return str(extension["valueUrl"])
    return str(kind["code"])


class Types:
    """Types, elements and constraints, gathered from the snapshots."""

    def __init__(self, errata: Errata, profiles: dict[str, Json]) -> None:
        self._profiles = profiles
        self.types: dict[str, Json] = {}
        self.elements: dict[str, list[list[Any]]] = {}
        self.constraints: dict[str, list[str]] = {}
        self.bound: set[str] = set()
        self._errata = errata

    def add(self, definition: Json) -> None:
        """One StructureDefinition: its own row, and a list of elements for each path with children."""
        name, snapshot = definition["type"], definition["snapshot"]["element"]
        kind = definition["kind"].removesuffix("-type")
        row: Json = {"kind": kind, "base": last(definition.get("baseDefinition", ""))}
        if definition["abstract"]:
            row["abstract"] = True
        row["constraints"] = self._declared(name, snapshot[0], inherited=True)
        self.types[name] = row
        if kind == "primitive":
            row["pattern"] = self._pattern(name, snapshot)
            return
        paths = {element["path"] for element in snapshot}
        parents = {path.rpartition(".")[0] for path in paths} - {""}
        self.elements[name] = []
        for element in snapshot[1:]:
            parent, _, short = element["path"].rpartition(".")
            self.elements.setdefault(parent, []).append(self._element(short, element, parents))

    def _pattern(self, name: str, snapshot: list[Json]) -> str:
        """The pattern of a primitive's value, which the type of its `value` element carries as an extension."""
        value = next(element for element in snapshot if element["path"] == f"{name}.value")
        patterns = [e["valueString"] for e in value["type"][0].get("extension", ()) if e["url"] == REGEX]
        return self._errata.apply("primitive-pattern", name, patterns[0] if patterns else "")

    def _element(self, short: str, element: Json, parents: set[str]) -> list[Any]:
        """One row: name, types, min, max (null: any number), flags, value set, targets, constraints."""
        path = element["path"]
        targets = {
            kind["code"]: [last(url) for url in kind["targetProfile"]]
            for kind in element.get("type", ())
            if "targetProfile" in kind
        }
        maximum = None if element["max"] == "*" else int(element["max"])
        return [
            short,
            self._types(path, element, parents),
            element["min"],
            maximum,
            self._flags(element),
            self._binding(element),
            targets,
            self._declared(path, element, inherited=False) + self._of_profiles(element),
        ]

    def _of_profiles(self, element: Json) -> list[str]:
        """The keys that the profiles of an element's type declare: `SimpleQuantity` allows no comparator."""
        urls = [url for kind in element.get("type", ()) for url in kind.get("profile", ()) if url in self._profiles]
        roots = [self._profiles[url]["snapshot"]["element"][0] for url in urls]
        return [key for root in roots for key in self._declared(root["path"], root, inherited=False)]

    def _types(self, path: str, element: Json, parents: set[str]) -> list[str]:
        """The types of an element; an element with children of its own is typed by the path that lists them."""
        if "contentReference" in element:
            return [element["contentReference"].removeprefix("#")]
        if path in parents:
            return [path]
        inherited_from = element["base"]["path"]  # so that one erratum reaches every snapshot
        declared = [declared_type(kind) for kind in element["type"]]
        return [self._errata.apply("element-type", inherited_from, name) for name in declared]

    @staticmethod
    def _flags(element: Json) -> int:
        summary: bool = element.get("isSummary", False)
        modifier: bool = element["isModifier"]
        attribute = "xmlAttr" in element.get("representation", ())
        return SUMMARY * summary | MODIFIER * modifier | XML_ATTRIBUTE * attribute

    def _binding(self, element: Json) -> str | None:
        binding = element.get("binding", {})
        if binding.get("strength") != "required":
            return None
        name = valueset_name(binding["valueSet"])
        self.bound.add(name)
        return name

    def _declared(self, path: str, element: Json, *, inherited: bool) -> list[str]:
        """The keys of the constraints an element declares.

        What a snapshot repeats from the element's type names that type as its `source`; it is left out, because the
        type's own row has it. A type's root keeps what it inherits. The keys are unique but for `inv-1`, which three
        types declare.
        """
        keys = []
        for constraint in element.get("constraint", ()):
            if "source" in constraint and not inherited:
                continue
            key = constraint["key"]
            expression = self._errata.apply("constraint", f"{path}:{key}", constraint["expression"])
            text = [constraint["severity"], expression, constraint["human"]]
            if self.constraints.setdefault(key, text) != text:
                key = f"{key}@{path}"
                self.constraints[key] = text
            keys.append(key)
        return keys


def compile_types(files: dict[str, bytes], errata: Errata) -> Types:
    """All structures but profiles and logical models, base types first as the package has them."""
    definitions = list(resources(files, DEFINITIONS, "StructureDefinition"))
    profiles = {row["url"]: row for row in definitions if row.get("derivation") == "constraint"}
    gathered = Types(errata, profiles)
    for definition in definitions:
        if definition["url"] not in profiles and definition["kind"] != "logical":
            gathered.add(definition)
    return gathered


def compile_valuesets(files: dict[str, bytes], bound: set[str]) -> dict[str, Any]:
    """System → codes for each value set with a required binding; null where it cannot be listed."""
    found: dict[str, Any] = dict.fromkeys(bound & UNLISTED)
    for valueset in resources(files, [EXPANSIONS], "ValueSet"):
        name = valueset_name(valueset["url"])
        if name not in bound or name in UNLISTED:
            continue
        systems: dict[str, list[str]] = {}
        for coding in valueset["expansion"]["contains"]:
            systems.setdefault(coding["system"], []).append(coding["code"])
        found[name] = systems
    if missing := bound - set(found):
        raise CompileError(f"required value sets without an expansion: {sorted(missing)}")
    return dict(sorted(found.items()))


def compile_codesystems(files: dict[str, bytes]) -> tuple[dict[str, bool], dict[str, dict[str, str]]]:
    """Whether codes are compared by case, per system; and code → parent, in the systems that labels need."""
    sensitive, parents = {}, {}
    for system in resources(files, TERMINOLOGY, "CodeSystem"):
        if "caseSensitive" in system:
            sensitive[system["url"]] = system["caseSensitive"]
        if system["id"] in HIERARCHIES and "concept" in system:
            parents[system["url"]] = dict(code_parents(system["concept"], ""))
    return dict(sorted(sensitive.items())), dict(sorted(parents.items()))


def code_parents(concepts: list[Json], parent: str) -> Iterator[tuple[str, str]]:
    """Each code with the one it stands under; the top ones have none."""
    for concept in concepts:
        yield concept["code"], parent
        yield from code_parents(concept.get("concept", []), concept["code"])


def branches(expression: str) -> list[str]:
    """Split a FHIRPath expression at its top-level unions."""
    depth, start, found = 0, 0, []
    quoted = False
    for index, letter in enumerate(expression):
        if letter == "'":
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if letter == "|" and depth == 0:
                found.append(expression[start:index].strip())
                start = index + 1
    return [*found, expression[start:].strip()]


def of_base(expression: str, base: str) -> str:
    """The branches of an expression that start at one base type."""
    kept = [branch for branch in branches(expression) if branch.lstrip("(").split(".")[0].rstrip(")") == base]
    if not kept:
        raise CompileError(f"search expression has no branch for {base}: {expression}")
    return " | ".join(kept)


def compile_params(files: dict[str, bytes], errata: Errata) -> dict[str, dict[str, Json]]:
    """Base type → code → {type, expression, targets, components, url}, the URL without its common beginning."""
    found: dict[str, dict[str, Json]] = {}
    definitions = list(resources(files, [SEARCH], "SearchParameter"))
    codes = {definition["url"]: definition["code"] for definition in definitions}
    for definition in definitions:
        for base in definition["base"]:
            found.setdefault(base, {})[definition["code"]] = search_parameter(definition, base, codes, errata)
    return {base: dict(sorted(params.items())) for base, params in sorted(found.items())}


def search_parameter(definition: Json, base: str, codes: dict[str, str], errata: Errata) -> Json:
    """One parameter at one base type; keys without a value are left out."""
    where, declared = definition["id"], definition.get("expression")
    expression = declared and of_base(errata.apply("search-expression", where, declared), base)
    components = [
        [codes[component["definition"]], errata.apply("search-component", f"{where}:{number}", component["expression"])]
        for number, component in enumerate(definition.get("component", ()))
    ]
    row: Json = {
        "type": definition["type"],
        "expression": expression,
        "targets": sorted(definition.get("target", ())),
        "components": components,
        "url": last(definition["url"]),
    }
    if len(row["targets"]) == ALL_TARGETS:
        row["targets"] = ["Any"]
    return {key: value for key, value in row.items() if value}


def compile_compartments(files: dict[str, bytes]) -> dict[str, dict[str, list[str]]]:
    """Compartment → type → the search parameters that put a resource into it."""
    return {
        definition["code"]: {row["code"]: row["param"] for row in definition["resource"] if "param" in row}
        for definition in resources(files, DEFINITIONS, "CompartmentDefinition")
    }


def compile_operations(files: dict[str, bytes]) -> dict[str, Json]:
    """Operations by the id of their definition, with their parameters as [name, use, min, max, type]."""
    found = {}
    for definition in resources(files, DEFINITIONS, "OperationDefinition"):
        found[definition["id"]] = {
            "code": definition["code"],
            "url": definition["url"],
            "affects": definition.get("affectsState", False),
            "levels": [level for level in ("system", "type", "instance") if definition[level]],
            "types": definition.get("resource", []),
            "parameters": [
                [row["name"], row["use"], row["min"], row["max"], row.get("type")]
                for row in definition.get("parameter", ())
            ],
        }
    return dict(sorted(found.items()))


def compile_schema(files: dict[str, bytes], errata: Errata) -> Json:
    """The whole table."""
    gathered = compile_types(files, errata)
    sensitive, parents = compile_codesystems(files)
    schema = {
        "version": "4.0.1",
        "types": gathered.types,
        "elements": gathered.elements,
        "constraints": dict(sorted(gathered.constraints.items())),
        "valuesets": compile_valuesets(files, gathered.bound),
        "case_sensitive": sensitive,
        "parents": parents,
        "params": compile_params(files, errata),
        "compartments": compile_compartments(files),
        "operations": compile_operations(files),
    }
    errata.finish()
    return schema


def render(schema: Json) -> bytes:
    """JSON with one line per entry of a section, so that a changed definition is a changed line."""
    lines = []
    for section, content in schema.items():
        if isinstance(content, dict):
            rows = ",\n".join(f"{json.dumps(key)}:{compact(value)}" for key, value in content.items())
            lines.append(f"{json.dumps(section)}:{{\n{rows}\n}}")
        else:
            lines.append(f"{json.dumps(section)}:{compact(content)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def compact(value: Any) -> str:
    """JSON without white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def compile_package(package: Path, errata_file: Path) -> dict[str, bytes]:
    """The files to check in, by name."""
    check_integrity(package)
    files = read_package(package)
    with errata_file.open(encoding="utf-8", newline="") as rows:
        errata = Errata(csv.DictReader(rows))
    return {"r4.json": render(compile_schema(files, errata)), "deflate.dict": dictionary(files)}


def main(arguments: list[str] | None = None) -> int:
    """Compile into `--out`, and print what was written."""
    parser = argparse.ArgumentParser(description="compile the FHIR R4 definitions")
    parser.add_argument("--package", type=Path, help=f"a copy of {PACKAGE} (.tgz); without it, `npm pack` fetches one")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write to")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        package = options.package or fetch(Path(folder))
        compiled = compile_package(package, TARGET / "errata.csv")
    for name, content in compiled.items():
        (options.out / name).write_bytes(content)
        sys.stdout.write(f"{name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
