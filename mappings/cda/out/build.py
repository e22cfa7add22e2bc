"""READ FIRST. A FHIR document Bundle in, the bytes of one CDA document out: `compose(bundle, kind, writing)`.

0. copy the resources, so that every leaf is known by itself; contained ones get references of their own
1. the header, by the rows of `header.ClinicalDocument`, from the Composition
2. each section: its entries by the rows of its map, its narrative from what they say; required ones that nobody filled
3. children in schema order; the tree as bytes
4. list what nobody read

An lxml tree from first to last: no text of a resource can become markup. What a document must not state it does not: a
resource that was entered in error, and one with a modifier that nobody here knows, are left out whole and told so.
Pure: equal input, equal bytes.
Source: CDA R2; C-CDA R2.1 CCD; eHDSI patient summary; FHIR R4 documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from mappings.cda.document import XSI_TYPE
from mappings.cda.element import V3, short
from mappings.cda.narrative import from_xhtml
from mappings.cda.out.classes import classes, in_order
from mappings.cda.out.narrative import NOTHING_KNOWN, Table, paragraph
from mappings.cda.out.rows import Map, Row, maps
from mappings.cda.out.sections import Column, SectionRow, columns, section_row, sections
from mappings.cda.out.settings import Kind, Writing
from mappings.cda.out.targets import NAMESPACES, Step
from mappings.cda.out.writing import Out, element, said
from mappings.fhir.fhirpath import Compiled, Env, FhirpathError, Node
from mappings.fhir.fhirpath_model import resource_node
from mappings.issues import Issue
from mappings.outbound.errors import OutboundError
from mappings.outbound.left import left
from mappings.outbound.reading import Json, index, prepared
from mappings.xml_parser import Element

LOINC = "2.16.840.1.113883.6.1"
_MOST_NESTED = 8  # sections in sections


@dataclass(frozen=True, slots=True)
class Composed:
    """One document. `left`: paths of the resources that it does not carry."""

    data: bytes
    issues: tuple[Issue, ...]
    left: tuple[str, ...]


def compose(bundle: Json, kind: Kind, writing: Writing) -> Composed:
    """The document. Raises OutboundError where this Bundle cannot become one."""
    work = _Work(bundle, kind, writing)
    root = work.document()
    in_order(root)
    data = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    work.covered()
    paths = tuple(path for body in work.resources for path in left(body, work.out.used))
    return Composed(data, tuple(dict.fromkeys(work.out.issues)), paths)


class _Work:
    """The state of one document."""

    def __init__(self, bundle: Json, kind: Kind, writing: Writing) -> None:
        found = prepared([each for each in bundle.get("entry", ()) if isinstance(each.get("resource"), dict)])
        self.resources = [body for _, body in found]
        if not self.resources or self.resources[0].get("resourceType") != "Composition":
            raise OutboundError("no document: the first entry of the Bundle is no Composition")
        self.composition = self.resources[0]
        self.known = index(found)
        rest = {name: value for name, value in bundle.items() if name != "entry"}
        self.bundle: Json = {**rest, "entry": [{"resource": body} for body in self.resources]}
        self.kind: Kind = kind
        self.maps = maps()
        language = str(self.composition.get("language") or bundle.get("language") or "")
        self.out = Out(self.known.get, writing=writing, kind=kind, language=language)
        self.following = False  # whether references that FHIRPath resolves are being carried
        self.table = Table("r", ())
        self.line = ""  # ID of the narrative's row of the statement at work
        self.patient: Json = {}
        self.made: set[int] = set()  # resources that the section at work states already

    def document(self) -> Element:
        root = etree.Element(f"{{{V3}}}ClinicalDocument", nsmap=NAMESPACES)
        node = resource_node(self.composition)
        found = self._found(_SUBJECT, node, self.composition, "Composition.subject")
        if not found:
            raise OutboundError("no patient: Composition.subject leads to no Patient of the Bundle")
        self.patient = found[0][1]
        self._fill(self.maps["header.ClinicalDocument"], node, self.composition, root)
        self._body(root)
        return root

    def covered(self) -> None:
        """Marks what is said without a row: the words beside a reference whose target is told, and labels that are
        the document's own."""
        labels = (self.composition.get("meta") or {}).get("security", ())
        for body in self.resources:
            for each in (body.get("meta") or {}).get("security", ()):
                if any(each.get("code") == known.get("code") for known in labels):
                    self.out.mark_all(each)
            self._told(body)

    def _told(self, value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("reference")
            if isinstance(reference, str) and id(reference) in self.out.used and reference in self.known:
                self.out.take(value, "display")
                self.out.take(value, "type")
            for each in value.values():
                self._told(each)
        elif isinstance(value, list):
            for each in value:
                self._told(each)

    # sections

    def _body(self, root: Element) -> None:
        body = element(f"{{{V3}}}structuredBody")
        known = sections(self.kind)
        written: set[str] = set()
        given = self.composition.get("section", [])
        for n, each in enumerate(given, 1):
            code = _loinc(each)
            body.append(_in_component(self._section(each, section_row(self.kind, code), str(n), 1)))
            written.add(code)
        for code, row in known.items():
            if row.required and code not in written and not any(_holds_code(each, code) for each in given):
                body.append(_in_component(self._section({}, row, f"n{code}", 1)))
        component = element(f"{{{V3}}}component")
        component.append(body)
        root.append(component)

    def _section(self, given: Json, row: SectionRow | None, number: str, depth: int) -> Element:
        code = row.loinc if row is not None else _loinc(given)
        made = element(f"{{{V3}}}section")
        self.out.where = [f"section[{code}]" if code else "section"]
        self.table = Table(f"s{number}r", columns(row.table) if row is not None else ())
        self.made = set()
        self._head(given, row, made)
        if row is not None:
            self._fill(self.maps[row.map], ("Composition.section", given, None), self.composition, made)
        text = self.table.text()
        if text is None:
            text = self._given_text(given)
        elif (given.get("text") or {}).get("status") != "additional":
            self.out.mark_all(given.get("text"))  # it says again what the entries say
        if text is None:
            text = paragraph(NOTHING_KNOWN)
            self._nothing_known(given, row, made)
        made.append(text)
        if "emptyReason" in given:
            self._reason(given)
        for n, inner in enumerate(given.get("section", ()) if depth < _MOST_NESTED else (), 1):
            below = self._section(inner, section_row(self.kind, _loinc(inner)), f"{number}-{n}", depth + 1)
            made.append(_in_component(below))
        self.out.where = []
        return made

    def _head(self, given: Json, row: SectionRow | None, made: Element) -> None:
        for root, extension in row.templates if row is not None else ():
            made.append(element(f"{{{V3}}}templateId", root=root, extension=extension))
        out = self.out
        title = out.text(given, "title") or (row.title if row is not None else "")
        if row is not None and row.display:
            out.mark_all(given.get("code"))
            made.append(element(f"{{{V3}}}code", code=row.loinc, codeSystem=LOINC, displayName=row.display))
        elif given.get("code"):
            from mappings.cda.out.writers.coded import cd

            coded = cd(("CodeableConcept", given["code"], None), f"{{{V3}}}code", self._at("code"))
            if coded is not None:
                made.append(coded)
        if title:
            made.append(element(f"{{{V3}}}title", title))

    def _at(self, target: str) -> Out:
        self.out.target, self.out.row, self.out.vocab, self.out.value, self.out.declared = target, "", None, "", ""
        return self.out

    def _given_text(self, given: Json) -> Element | None:
        """The narrative that the section came with, where none is made of entries."""
        text = given.get("text") or {}
        div = text.get("div")
        if not div or "emptyReason" in given:
            self.out.mark_all(text)  # what it says of nothing being there is said in other words
            return None
        try:
            found = from_xhtml(str(div))
        except ValueError:
            self._at("text").left_out("a narrative that is none")
            return None
        if not "".join(found.itertext()).strip():
            return None
        self.out.mark_all(text)
        return found

    def _nothing_known(self, given: Json, row: SectionRow | None, made: Element) -> None:
        """Nobody knows anything: by an entry that says so, else by the section's null flavor."""
        if row is not None and row.unknown:
            entry = element(f"{{{V3}}}entry")
            self._fill(self.maps[row.unknown], ("Composition.section", given, None), self.composition, entry)
            made.append(entry)
        else:
            made.set("nullFlavor", "NI")

    def _reason(self, given: Json) -> None:
        codes = [each.get("code") for each in given["emptyReason"].get("coding", ())]
        if codes != ["unavailable"]:
            self._at("@nullFlavor").left_out("why nothing is known")
        self.out.mark_all(given["emptyReason"])

    # rows

    def _fill(self, map_: Map, node: Node, root: Json, el: Element) -> None:
        """One map's rows into an element; what its narrative row is belongs to it and what is inside."""
        for template in map_.templates.get(self.kind, ()):
            el.append(element(f"{{{V3}}}templateId", root=template.root, extension=template.extension))
        line = self.line
        for row in map_.rows:
            if not row.kind or row.kind == self.kind:
                self._row(row, node, root, el)
        self.line = line

    def _row(self, row: Row, node: Node, root: Json, el: Element) -> None:
        out = self.out
        self.following = False
        if row.when is not None and not row.when.test([node], self._env(node, root)):
            return
        self.following = True
        nodes = self._found(row.source, node, root, row.id) if row.source is not None else []
        out.row, out.vocab, out.value, out.target = row.id, row.vocab, row.value, row.path
        if row.type == "=":
            wrote = self._constant(row, node, root, el) if row.source is None or nodes else False
        elif row.map:
            wrote = self._nested(row, nodes, root, el)
        else:
            wrote = self._written(row, nodes, el)
        if wrote:
            for expression in row.says:
                for each in self._found(expression, node, root, row.id):
                    out.mark_all(each[1])
                    if isinstance(each[1], bool) and isinstance(node[1], dict):
                        self._flagged(expression.text, node[1])
        elif row.flavor:
            self._null(row, el)

    def _flagged(self, expression: str, holder: Json) -> None:
        """A boolean, which is no object of its own, is known by its holder and its name, of a choice the whole one."""
        name = expression.partition(".")[0]
        self.out.used |= {(id(holder), name), (id(holder), f"{name}Boolean")}

    def _constant(self, row: Row, node: Node, root: Json, el: Element) -> bool:
        value = row.value
        if value == "@row":
            value = f"#{self._line(node, root)}"
        elif value == "@language":
            value = self.out.language
            if not value:
                return False
        holder = self._place(row.target.steps, el)
        if row.target.attribute:
            holder.set(row.target.attribute, said(value))
        elif value:
            holder.text = said(value)
        return True

    def _line(self, node: Node, root: Json) -> str:
        """The narrative's row: of the resource at work, else of the one around it."""
        if not self.line:

            def cells(column: Column) -> list[Node]:
                self.following = False
                return self._found(column.source, node, root, column.header)

            self.line = self.table.add(cells)
        return self.line

    def _nested(self, row: Row, nodes: list[Node], root: Json, el: Element) -> bool:
        wrote = False
        for node in nodes:
            if node[1] == {} and node[0] != "Composition.section":  # a reference that leads out of the document
                continue
            inner = node[1] if isinstance(node[1], dict) and "resourceType" in node[1] else root
            if inner is not root:
                if not self._sayable(inner) or (_is_first(row) and id(inner) in self.made):
                    continue
                self.made.add(id(inner))
            place = self._fresh(row.target.steps, el)
            where, self.out.where = self.out.where, [*self.out.where, row.path]
            line, self.line = self.line, "" if inner is not root and _is_entry(row) else self.line
            self._fill(self.maps[row.map], node, inner, place)
            self.out.where, self.line, wrote = where, line, True
            self.out.row, self.out.target = row.id, row.path
        return wrote

    def _sayable(self, resource: Json) -> bool:
        """Whether a document may state a resource as it stands."""
        if resource.get("modifierExtension"):
            self.out.left_out("a statement with a modifier that CDA does not have")
            return False
        if resource.get("focus") or not self._is_hers(resource):
            self.out.left_out("a statement about somebody else")
            return False
        codings = (resource.get("verificationStatus") or {}).get("coding", ())
        if resource.get("status") == "entered-in-error" or any(e.get("code") == "entered-in-error" for e in codings):
            self.out.left_out("a statement that was entered in error")
            return False
        return True

    def _is_hers(self, resource: Json) -> bool:
        """Whether a resource is this patient's, or nobody's in particular."""
        owner = resource.get("subject") or resource.get("patient")
        if not isinstance(owner, dict) or resource["resourceType"] == "Composition":
            return True
        return self.known.get(owner.get("reference", "")) is self.patient

    def _written(self, row: Row, nodes: list[Node], el: Element) -> bool:
        out, wrote = self.out, False
        step, outer = row.target.steps[-1], row.target.steps[:-1]
        child = classes()[outer[-1].name if outer else short(str(el.tag))][step.name]
        for node in nodes:
            out.declared = child.type
            made = row.writer(node, step.tag, out) if row.writer is not None else None
            for each in made if isinstance(made, list) else [] if made is None else [made]:
                holder = self._place(outer, el)
                if step.name == "id" and any(_same(known, each) for known in holder):
                    continue
                if not child.repeats and any(known.tag == step.tag for known in holder):
                    out.left_out("a value beyond the one there is room for")
                    break
                if child.type == "ANY" and each.get(XSI_TYPE) is None:
                    each.set(XSI_TYPE, row.type.partition(".")[0])
                for name, value in step.attributes:
                    each.set(name, value)
                holder.append(each)
                wrote = True
        return wrote

    def _null(self, row: Row, el: Element) -> None:
        step = row.target.steps[-1]
        holder = self._place(row.target.steps[:-1], el)
        if any(known.tag == step.tag for known in holder):
            return
        made = element(step.tag, nullFlavor=row.flavor)
        for name, value in step.attributes:
            made.set(name, value)
        if classes()[short(str(holder.tag))][step.name].type == "ANY" and made.get(XSI_TYPE) is None:
            made.set(XSI_TYPE, "CD")
        holder.append(made)

    # places

    def _place(self, steps: tuple[Step, ...], el: Element) -> Element:
        """The element of a path: what an earlier row made, else a new one."""
        for step in steps:
            known = next((each for each in el if _is(each, step)), None)
            el = _made(step, el) if known is None else known
        return el

    def _fresh(self, steps: tuple[Step, ...], el: Element) -> Element:
        """The element of one value: of its own from the step that says so on, else the last."""
        own = next((n for n, step in enumerate(steps) if step.each), len(steps) - 1)
        if own < 0:
            return el
        el = self._place(steps[:own], el)
        for step in steps[own:]:
            el = _made(step, el)
        return el

    # FHIRPath

    def _found(self, expression: Compiled, focus: Node, root: Json, where: str) -> list[Node]:
        try:
            return list(expression.run([focus], self._env(focus, root)))
        except FhirpathError as exc:
            raise OutboundError(f"{where}: {exc}") from exc

    def _env(self, focus: Node, root: Json) -> Env:
        return replace(Env(self.bundle, root=root, resolve=self._resolve), context=focus)

    def _resolve(self, reference: str) -> Json | None:
        """A reference that a row follows is carried; one that only decides is not."""
        found = self.known.get(reference)
        if found is not None and self.following:
            self.out.mark(reference)
        return found


def _subject() -> Compiled:
    from mappings.fhir.fhirpath import compile

    return compile("subject.resolve().ofType(Patient).where(id.exists() or name.exists() or identifier.exists())")


_SUBJECT = _subject()


def _made(step: Step, el: Element) -> Element:
    made = etree.SubElement(el, step.tag)
    for name, value in step.attributes:
        made.set(name, value)
    return made


def _is(each: Element, step: Step) -> bool:
    return each.tag == step.tag and all(each.get(name) == value for name, value in step.attributes)


def _same(known: Element, made: Element) -> bool:
    return known.tag == made.tag and dict(known.attrib) == dict(made.attrib)


def _is_first(row: Row) -> bool:
    """Whether a row writes the entries of a section."""
    return bool(row.target.steps) and row.target.steps[0].name == "entry"


def _is_entry(row: Row) -> bool:
    """Whether what a row makes is a statement of its own, with a row of its own in the narrative."""
    return any(step.name in ("entry", "component") for step in row.target.steps)


def _in_component(made: Element) -> Element:
    component = element(f"{{{V3}}}component")
    component.append(made)
    return component


def _loinc(section: Json) -> str:
    codings: Iterator[Any] = iter((section.get("code") or {}).get("coding", ()))
    return next((str(each.get("code")) for each in codings if each.get("system") == "http://loinc.org"), "")


def _holds_code(section: Json, code: str) -> bool:
    return any(_loinc(inner) == code or _holds_code(inner, code) for inner in section.get("section", ()))
