"""Nothing in clear at rest: planted strings are looked for in every file that the node wrote (promise 9).

A served process takes messages whose every field carries a mark, good ones and such as fail on each way there is, and
requests of all kinds with marks in each part, granted and refused. It is killed, so that its write-ahead logs stay as
they are, and then everything below the site, its temporary folder and its output is searched in common encodings.
Operations chapter §8 (I9) and §9 (F44).
"""

import asyncio
import base64
import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import httpx
import pytest

from adapter.inbound.mllp import frame
from adapter.sender import acknowledgement_code, send_one
from adapter.settings import FILE, load
from tests.faults.process import HOST, Place, create, serving
from tests.faults.traces import digests, files, find, search
from tests.simulators.ward import client

WORD, NUMBER, LONE = "Zqkanärchen", "7091743152", "qxvogelkäfig"
MARKS = (WORD, NUMBER, LONE, "Zqkan", "qxvogelk")  # the last two: where only ASCII was left alone
PATIENT = f"{NUMBER}1"


def header(type_: str, control: str, *, version: str = "2.5.1", processing: str = "P") -> str:
    return (
        f"MSH|^~\\&|{WORD}sys|{WORD}fac|CB|{WORD}rec|20260304080000+0000||{type_}|{WORD}{control}|{processing}|{version}"
        "|||AL|NE||UNICODE UTF-8"
    )


PID = (
    f"PID|1||{PATIENT}^^^{WORD}&2.999.1.4&ISO^MR~{NUMBER}2^^^SVNR&2.999.1.9&ISO^NI||{WORD}fam^{WORD}giv^{LONE}"
    f"||19800101|F|{LONE}|2106-3|{WORD}street 5^^{WORD}town^^{NUMBER}^AUT||^PRN^PH^^43^1^{NUMBER}"
    f"~^NET^Internet^{WORD}@example.org|||M|{WORD}faith|{NUMBER}3|{NUMBER}4"
)
PV1 = f"PV1|1|I|{WORD}ward^{WORD}room|R|||{NUMBER}5^{WORD}doc^{LONE}|||||||||||{WORD}|V{NUMBER}^^^H&2.999.1.6&ISO^VN"
ORDER = f"OBR|1|P{NUMBER}|F{NUMBER}^LAB|{WORD}code^{WORD} panel^99{WORD}|||20260304090000|||||||||||||||||LAB|F"


def observation(kind: str, value: str) -> str:
    return f"OBX|1|{kind}|{WORD}obs^{LONE}^99LOC||{value}|{WORD}unit|||||F|||20260304090000||{NUMBER}^{WORD}tech"


def document(head: str = "", body: str = "") -> bytes:
    """A CDA document with a mark in every place that a sender fills, narrative and codes too."""
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<id root="2.999.8" extension="{NUMBER}6"/><code code="34133-9" codeSystem="2.16.840.1.113883.6.1"/>
<title>{WORD} title</title><effectiveTime value="20260304080000+0000"/>{head}
<recordTarget><patientRole><id root="2.999.1.4" extension="{PATIENT}"/>
<addr><streetAddressLine>{WORD}street 7</streetAddressLine><city>{WORD}town</city></addr><telecom value="tel:{NUMBER}"/>
<patient><name><given>{LONE}</given><family>{WORD}fam</family></name><birthTime value="19800101"/></patient>
</patientRole></recordTarget>
<author><time value="20260304"/><assignedAuthor><id root="2.999.1.5" extension="{NUMBER}5"/>
<assignedPerson><name>{WORD}doc</name></assignedPerson></assignedAuthor></author>
<component><structuredBody><component><section><code code="48765-2" codeSystem="2.16.840.1.113883.6.1"/>
<title>{WORD}</title><text><content ID="{LONE}">{WORD} {LONE} {NUMBER}</content></text>
<entry><act classCode="ACT" moodCode="EVN"><entryRelationship typeCode="SUBJ">
<observation classCode="OBS" moodCode="EVN">
<id root="2.999.8" extension="{NUMBER}7"/><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
<effectiveTime><low value="{WORD}"/></effectiveTime><value xsi:type="CD" code="{WORD}" codeSystem="2.999.{NUMBER[:4]}"
 displayName="{LONE}"><originalText><reference value="#{WORD}"/></originalText></value>
<participant typeCode="CSM"><participantRole><playingEntity><name>{WORD} nuts</name></playingEntity></participantRole>
</participant></observation></entryRelationship></act></entry>{body}</section></component></structuredBody></component>
</ClinicalDocument>""".encode()


def embedded() -> str:
    data = base64.b64encode(document()).decode()
    return f"OBX|1|ED|CDA^{WORD}^99{WORD}||{WORD}^text^xml^Base64^{data}||||||F"


A01, ORU = "ADT^A01^ADT_A01", "ORU^R01^ORU_R01"
GOOD = [
    [
        header(A01, "a"), "EVN|A01|20260304080000", PID, f"NK1|1|{WORD}kin^{LONE}", PV1,
        f"AL1|1|DA|{WORD}allergy|SV|{LONE}", f"DG1|1||{WORD}dx^{LONE}^99X|||A", f"ZPI|1|{WORD}secret|{NUMBER}",
    ],
    [header(ORU, "b"), PID, ORDER, f"NTE|1||{WORD} note", observation("ST", f"{WORD} value"), f"NTE|1||{LONE}"],
    [header(ORU, "c"), PID, ORDER, observation("NM", f"{NUMBER}.25"), observation("CWE", f"{WORD}^{LONE}^99Y")],
    [header(ORU, "d"), PID, ORDER, observation("TX", f"{LONE}~{WORD}~{NUMBER}")],
    [header("MDM^T02^MDM_T02", "s"), PID, f"TXA|1|DS||||||||||D{NUMBER}^{WORD}|||||AU", embedded()],
    [header("ADT^A40^ADT_A39", "e"), "EVN|A40|20260304090000", PID, f"MRG|{NUMBER}9^^^{WORD}&2.999.1.4&ISO^MR"],
]  # fmt: skip
BAD = {
    "impossible dates": [header(A01, "f"), f"EVN|A01|{WORD}", PID.replace("19800101", WORD), PV1],
    "unknown event": [header("ADT^A99^ADT_A99", "g"), PID, PV1],
    "another structure": [header(f"CSU^C09^{WORD}", "h"), f"CSR|{WORD}|{NUMBER}", PID],
    "not a number": [header(ORU, "i"), PID, ORDER, observation("NM", f"{WORD}x")],
    "no patient": [header(ORU, "j"), ORDER, observation("ST", WORD)],
    "no type": [header("", "k"), PID],
    "a test message": [header(A01, "l", processing="T"), PID],
    "a far version": [header(A01, "m", version=WORD), PID],
    "a query": [header("QBP^Q22^QBP_Q21", "n"), f"QPD|{WORD}|{NUMBER}|@PID.3^{NUMBER}"],
    "no header": [f"PID|{WORD}|{NUMBER}"],
    "no control id": [header(A01, "o").replace(f"|{WORD}o|", "||"), PID],
    "a lying charset": [header(A01, "p").replace("UNICODE UTF-8", "ASCII"), PID],
    "escapes": [header(A01, "q"), PID.replace(LONE, f"\\X{WORD.encode().hex()}\\\\H\\{WORD}\\N\\")],
    "a batch": [f"BHS|^~\\&|{WORD}|{LONE}", header(A01, "r"), PID, "BTS|1"],
}
PATHS = [
    f"/fhir/Patient?identifier=urn:oid:2.999.1.4|{PATIENT}",
    f"/fhir/Patient?identifier=urn:oid:2.999.1.4|{NUMBER}777",
    f"/fhir/Patient?name={WORD}",
    f"/fhir/Observation?patient={WORD}&code={LONE}",
    f"/fhir/Observation?patient={NUMBER}&date={WORD}",
    f"/fhir/Patient?{WORD}={LONE}",
    f"/fhir/Patient?identifier={WORD}&_count={WORD}",
    f"/fhir/Patient/{NUMBER}",
    f"/fhir/Patient/{WORD}%20{LONE}",
    f"/fhir/Patient/{NUMBER}/_history/{LONE}",
    f"/fhir/{WORD}/{NUMBER}",
    f"/fhir/Patient?_page={base64.urlsafe_b64encode(WORD.encode()).decode()}",
    f"/fhir/Patient/{NUMBER}/{WORD}",
    f"/{WORD}",
    f"/log/{WORD}/tile/0/{NUMBER}",
    f"/fhir/metadata?_format={WORD}",
    f"/fhir/Patient?identifier={'%F6' + LONE}",
]
BODIES = [
    f'{{"resourceType":"Consent","{WORD}":"{LONE}"}}',
    f'{{"resourceType":"{WORD}"}}',
    f'{{"resourceType":"Consent","status":"{WORD}","patient":{{"reference":"Patient/{NUMBER}"}}}}',
    f'{{"{WORD}',
    f'["{LONE}"]',
]


LAB = """
[access.client.lab]
system = "urn:oid:2.999.7"
identifier = "lab-1"
feed = "main"
scopes = "system/*.cruds"
purposes = ["TREAT"]
"""


def wire(lines: list[str]) -> bytes:
    return "".join(line + "\r" for line in lines).encode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = create(tmp_path / "site")
    with (made.folder / FILE).open("a", encoding="utf-8") as settings:
        settings.write(LAB)
    return made


async def feed(place: Place) -> Counter[str]:
    """Everything over MLLP, well framed, and then frames that are none; the codes of the answers."""
    answers = [await send_one(HOST, place.mllp_port, wire(lines)) for lines in [*GOOD, *BAD.values(), GOOD[0]]]
    broken = [
        frame(wire(GOOD[0]))[1:],
        frame(wire(GOOD[0]))[:-2],
        b"\x0b" + frame(wire(GOOD[1])),
        f"GET /{WORD} HTTP/1.1\r\nHost: {LONE}\r\n\r\n".encode(),
        frame(f"{WORD}\0{LONE}".encode()),
        frame(WORD.encode("utf-16")),
    ]
    for data in broken:
        reader, writer = await asyncio.open_connection(HOST, place.mllp_port)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
    return Counter(acknowledgement_code(answer) for answer in answers)


async def ask(place: Place) -> Counter[int]:
    """Every request as the house's client, as nobody and as a liar; the statuses."""
    of = client(place.folder)
    statuses: Counter[int] = Counter()
    liar = f"Bearer {WORD}.{LONE}.{NUMBER}".encode()
    tokens: list[dict[bytes, bytes]] = [{b"Authorization": f"Bearer {of.token}".encode()}, {}, {b"Authorization": liar}]
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{place.http_port}", timeout=30) as http:
        for headers in tokens:
            number = NUMBER.encode()
            marked = headers | {b"X-Request-Id": number, b"User-Agent": number, b"If-None-Match": number}
            for path in PATHS:
                statuses[(await http.get(path, headers=marked)).status_code] += 1
            for body in BODIES:
                for method, path in (("POST", "/fhir/Consent"), ("PUT", f"/fhir/Consent/{NUMBER}"), ("POST", "/hl7v2")):
                    for kind in ("application/fhir+json", "application/hl7-v2", f"text/{NUMBER}"):
                        request = marked | {b"Content-Type": kind.encode()}
                        answer = await http.request(method, path, content=body.encode(), headers=request)
                        statuses[answer.status_code] += 1
            form = marked | {b"Content-Type": b"application/x-www-form-urlencoded"}
            for path in ("/fhir/Patient/_search", f"/fhir/Patient/{NUMBER}/Observation/_search"):
                answer = await http.post(path, content=f"name={WORD}&identifier={NUMBER}".encode(), headers=form)
                statuses[answer.status_code] += 1
            statuses[(await http.delete(f"/fhir/Patient/{NUMBER}", headers=marked)).status_code] += 1
    return statuses


DOCUMENTS = {
    "good": document(),
    "other bytes under its number": document(body="<!-- x -->"),
    "two patients": document(
        f'<recordTarget><patientRole><id root="2.999" extension="{NUMBER}"/></patientRole></recordTarget>'
    ),
    "an unknown statement": document(body=f'<entry><{WORD}><code code="{LONE}"/></{WORD}></entry>'),
    "a null flavor that is none": document(
        body=f'<entry><observation nullFlavor="{WORD}"><code nullFlavor="{LONE}"/></observation></entry>'
    ),
    "an entity": f'<!DOCTYPE {WORD} [<!ENTITY {WORD} SYSTEM "file:///{LONE}">]><{WORD}>&{WORD};</{WORD}>'.encode(),
    "torn": document().replace(b"</family>", f"</{WORD}>".encode()),
    "another root": f'<{WORD} xmlns="urn:{LONE}">{NUMBER}</{WORD}>'.encode(),
    "no XML": f"<{WORD} {NUMBER}".encode(),
    "a lying encoding": f'<?xml version="1.0" encoding="{"x" * 9}"?><{WORD}/>'.encode(),
    "UTF-16": document().decode().encode("utf-16"),
}


async def post_documents(place: Place) -> Counter[int]:
    """Documents of all kinds as requests; the statuses."""
    of = client(place.folder, "lab")
    headers = {"Authorization": f"Bearer {of.token}", "Content-Type": "application/xml"}
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{place.http_port}", headers=headers, timeout=60) as http:
        for data in [*DOCUMENTS.values(), DOCUMENTS["good"]]:
            answer = await http.post("/cda", content=data)
            assert find(answer.content, MARKS) == [], "nor in an answer"
            statuses[answer.status_code] += 1
        statuses[
            (await http.post("/cda", content=document(), headers={"Content-Type": f"text/{NUMBER}"})).status_code
        ] += 1
    return statuses


async def post(place: Place) -> Counter[int]:
    """The same messages as requests; the statuses."""
    of = client(place.folder, "lab")
    headers = {"Authorization": f"Bearer {of.token}", "Content-Type": "application/hl7-v2"}
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{place.http_port}", headers=headers, timeout=30) as http:
        for lines in [*GOOD, *BAD.values()]:
            answer = await http.post("/hl7v2", content=wire(lines).replace(f"{WORD}".encode(), LONE.encode()))
            statuses[answer.status_code] += 1
    return statuses


def secrets_elsewhere(place: Place, written: list[Path]) -> dict[str, list[str]]:
    """Files other than their own that hold a key of the node, or a token that it was shown."""
    keys = load(place.folder).keys
    secrets = [client(place.folder).token.rpartition(".")[0]]
    for file in (keys.kek_file, keys.log_file, keys.token_file):
        lines = (place.folder / file).read_text("ascii").splitlines()
        secrets += [part for line in lines for part in re.split(r"[^A-Za-z0-9/+=_]+", line) if len(part) > 30]
    assert len(secrets) > 3
    found = {}
    for file, data in files(written):
        if file.parent.name != "keys" and (traces := find(data, secrets)):
            found[file.name] = traces
    return found


def values() -> list[str]:
    """Every component of every field that was sent and holds a mark."""
    sent = "".join(line for lines in [*GOOD, *BAD.values()] for line in lines)
    return sorted({part for part in re.split(r"[|^~&\r\\]", sent) if any(mark in part for mark in MARKS)})


@pytest.mark.parametrize("mark", MARKS)
def test_a_trace_is_found_in_each_encoding(mark: str, tmp_path: Path) -> None:
    """The search itself: what it is to find is planted, in the middle of something else."""
    texts = [mark, mark.lower(), mark.upper()]
    planted = [form for text in texts for form in _written(text)]
    for form in planted:
        assert find(b"\x00\x01" + form + b"\xfe", [mark]), form
    assert find(b"nothing of the kind, " * 99, [mark]) == []
    (tmp_path / f"report-{mark}.tmp").write_bytes(b"")
    (tmp_path / "output").write_text(f'{{"event": "{mark}"}}')
    assert set(search([tmp_path], [mark])) == {f"report-{mark}.tmp", "output"}
    assert set(search([tmp_path / "output"], [mark])) == {"output"}


def test_a_plain_digest_is_found_whole_or_cut() -> None:
    digest = hashlib.sha256(f"{NUMBER}1".encode()).digest()
    for planted in (digest, digest.hex().encode(), digest[:16], digest.hex().upper().encode()):
        assert digests(b"\0" + planted, [f"{NUMBER}1"])
    assert digests(hashlib.sha256(b"keyed" + f"{NUMBER}1".encode()).digest(), [f"{NUMBER}1"]) == []


def _written(text: str) -> Iterator[bytes]:
    for raw in (text.encode(), text.encode("latin-1"), text.encode("utf-16-le"), text.encode("utf-16-be")):
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield quote_from_bytes(raw, safe="").encode()
        yield gzip.compress(raw * 3)
        yield zlib.compress(b"before " + raw)
    yield json.dumps(text).encode()
    for before in (b"", b"a", b"ab"):
        for after in (b"", b"a", b"ab"):
            yield base64.b64encode(before + text.encode() + after)
            yield base64.urlsafe_b64encode(before + text.encode() + after)


async def test_nothing_in_clear_at_rest(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    async with serving(place.folder, output=tmp_path / "output") as served:
        assert await served.ready(place.mllp_port)
        codes = await feed(place)
        of_documents = await post_documents(place)
        statuses = await ask(place) + await post(place)
        await place.settled()
        again = await ask(place)
        served.kill()
    assert codes["CA"] > len(GOOD)
    assert codes["CR"] + codes["AR"] >= 5, "and some were refused"
    assert set(of_documents) == {200, 400, 415}
    assert set(statuses) | set(again) >= {200, 400, 401, 404, 415, 422}
    assert not {500, 503} & (set(statuses) | set(again))
    written = [place.folder, temporary, tmp_path / "output"]
    assert "message.stopped" in (tmp_path / "output").read_text(), "and so is the log"
    assert (place.folder / "data.sqlite3-wal").stat().st_size, "the write-ahead log is there to be searched"
    assert search(written, MARKS, values()) == {}
    assert len(values()) > 50
    assert secrets_elsewhere(place, written) == {}
