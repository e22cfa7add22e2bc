"""The same document written otherwise says the same; a negation turned round turns that statement round, no other.

On every sample of ours, and on the corpus where it is at hand.
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest

from mappings.convert import Conversion, to_fhir
from tests.mappings.cda.converted import default
from tools.cda_variants import VARIANTS, Variant, turned_wrong

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"
_DOCUMENT = re.compile(rb"ClinicalDocument[^>]*urn:hl7-org:v3")
SMALL = 50_000  # bytes
SAMPLES = sorted((ROOT / "samples/cda").glob("*.xml"))
DOCUMENTS = sorted(
    path for path in CORPUS.rglob("*") if path.suffix.lower() == ".xml" and _DOCUMENT.search(path.read_bytes()[:6_000])
)


@cache
def converted(path: Path) -> Conversion:
    return to_fhir(path.read_bytes(), default())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_written_otherwise_says_the_same(sample: Path, variant: Variant) -> None:
    varied = to_fhir(variant.write(sample.read_bytes()), default())
    assert variant.breaks(converted(sample), varied) == ""


@pytest.mark.corpus
@pytest.mark.skipif(not DOCUMENTS, reason="the corpus of documents is not at hand")
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
def test_a_document_of_the_corpus_written_otherwise_says_the_same(variant: Variant) -> None:
    broken = {
        path.stem: breaks
        for path in DOCUMENTS
        if (breaks := variant.breaks(converted(path), to_fhir(variant.write(path.read_bytes()), default())))
    }
    assert broken == {}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_negation_turned_round_turns_that_statement_round_in_a_sample(sample: Path) -> None:
    assert turned_wrong(sample.read_bytes(), default()) == {}


@pytest.mark.corpus
@pytest.mark.skipif(not DOCUMENTS, reason="the corpus of documents is not at hand")
def test_a_negation_turned_round_turns_that_statement_round_in_the_corpus() -> None:
    """In its smaller documents; `make figures` asks all of them."""
    small = [path for path in DOCUMENTS if path.stat().st_size <= SMALL]
    assert {path.stem: wrong for path in small if (wrong := turned_wrong(path.read_bytes(), default()))} == {}
