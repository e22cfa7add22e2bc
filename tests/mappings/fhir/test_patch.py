"""JSON Patch and merge patch: vectors in the manner of the published suites, lexemes, and hostile patches.

RFC 6902 §4, §5, appendix A; RFC 6901 §5; RFC 7396 appendix A.
"""

from typing import Any

import pytest

from mappings.fhir.codec import Limits, decode, encode
from mappings.fhir.patch import (
    MAX_OPERATIONS,
    PatchError,
    PatchMissed,
    PatchTestFailed,
    PatchTooLarge,
    applied,
    merged,
    operations,
)


def done(document: str, patch: str, limits: Limits | None = None) -> str:
    found = operations(patch.encode())
    return encode(applied(decode(document), found, *([limits] if limits else []))).decode()


APPLIES = [
    ("{}", "[]", "{}"),
    ('{"foo":"bar"}', '[{"op":"add","path":"/baz","value":"qux"}]', '{"baz":"qux","foo":"bar"}'),
    ('{"foo":1}', '[{"op":"add","path":"/foo","value":2}]', '{"foo":2}'),
    ('{"foo":1}', '[{"op":"add","path":"/bar","value":null}]', '{"bar":null,"foo":1}'),
    ('{"foo":["a","c"]}', '[{"op":"add","path":"/foo/1","value":"b"}]', '{"foo":["a","b","c"]}'),
    ('{"foo":["a"]}', '[{"op":"add","path":"/foo/-","value":["b"]}]', '{"foo":["a",["b"]]}'),
    ('{"foo":["a"]}', '[{"op":"add","path":"/foo/1","value":"b"}]', '{"foo":["a","b"]}'),
    ('{"foo":1}', '[{"op":"add","path":"","value":{"bar":2}}]', '{"bar":2}'),
    ('{"foo":1}', '[{"op":"add","path":"/","value":2}]', '{"":2,"foo":1}'),
    ('{"foo":{"":1}}', '[{"op":"remove","path":"/foo/"}]', '{"foo":{}}'),
    ('{"baz":1,"foo":2}', '[{"op":"remove","path":"/baz"}]', '{"foo":2}'),
    ('{"foo":[1,2,3]}', '[{"op":"remove","path":"/foo/1"}]', '{"foo":[1,3]}'),
    ('{"foo":null}', '[{"op":"remove","path":"/foo"}]', "{}"),
    ('{"foo":[1,2]}', '[{"op":"replace","path":"/foo/0","value":{"a":0}}]', '{"foo":[{"a":0},2]}'),
    ('{"foo":1}', '[{"op":"replace","path":"","value":{"a":0}}]', '{"a":0}'),
    ('{"foo":null}', '[{"op":"replace","path":"/foo","value":1}]', '{"foo":1}'),
    ('{"foo":{"a":1},"q":{}}', '[{"op":"move","from":"/foo/a","path":"/q/b"}]', '{"foo":{},"q":{"b":1}}'),
    ('{"foo":[1,2,3,4]}', '[{"op":"move","from":"/foo/1","path":"/foo/3"}]', '{"foo":[1,3,4,2]}'),
    ('{"foo":1}', '[{"op":"move","from":"/foo","path":"/foo"}]', '{"foo":1}'),
    ('{"a":{"b":1}}', '[{"op":"move","from":"/a/b","path":"/a"}]', '{"a":1}'),
    ('{"a":[1],"b":[]}', '[{"op":"copy","from":"/a/0","path":"/b/-"}]', '{"a":[1],"b":[1]}'),
    (
        '{"a":{"x":1}}',
        '[{"op":"copy","from":"/a","path":"/b"},{"op":"replace","path":"/b/x","value":2}]',
        '{"a":{"x":1},"b":{"x":2}}',
    ),
    ('{"a":{"x":1}}', '[{"op":"copy","from":"","path":"/a/all"}]', '{"a":{"all":{"a":{"x":1}},"x":1}}'),
    ('{"a/b":1,"m~n":2}', '[{"op":"test","path":"/a~1b","value":1},{"op":"remove","path":"/m~0n"}]', '{"a/b":1}'),
    ('{"~1":1}', '[{"op":"test","path":"/~01","value":1}]', '{"~1":1}'),
    ('{"c%d":1,"k\\"l":2}', '[{"op":"test","path":"/c%d","value":1},{"op":"remove","path":"/k\\"l"}]', '{"c%d":1}'),
    ('{"0":1}', '[{"op":"add","path":"/0","value":2}]', '{"0":2}'),
    ('{"01":1}', '[{"op":"remove","path":"/01"}]', "{}"),
    ('{"a":1}', '[{"op":"test","path":"","value":{"a":1}}]', '{"a":1}'),
    ('{"a":{"x":1,"y":[2]}}', '[{"op":"test","path":"/a","value":{"y":[2],"x":1}}]', '{"a":{"x":1,"y":[2]}}'),
    ('{"a":null}', '[{"op":"test","path":"/a","value":null}]', '{"a":null}'),
    ('{"a":1}', '[{"op":"test","path":"/a","value":1,"from":7,"more":[]}]', '{"a":1}'),
    ('{"a":1}', '\ufeff[{"op":"test","path":"/a","value":1}]', '{"a":1}'),
]


@pytest.mark.parametrize(("document", "patch", "result"), APPLIES)
def test_a_patch_does_what_the_standard_says(document: str, patch: str, result: str) -> None:
    assert done(document, patch) == result


MISSES = [
    ('{"a":1}', '[{"op":"remove","path":"/b"}]'),
    ('{"a":1}', '[{"op":"replace","path":"/b","value":1}]'),
    ('{"a":1}', '[{"op":"add","path":"/b/c","value":1}]'),
    ('{"a":1}', '[{"op":"add","path":"/a/c","value":1}]'),
    ('{"a":"text"}', '[{"op":"test","path":"/a/0","value":"t"}]'),
    ('{"a":[1]}', '[{"op":"add","path":"/a/2","value":1}]'),
    ('{"a":[1]}', '[{"op":"remove","path":"/a/1"}]'),
    ('{"a":[1]}', '[{"op":"remove","path":"/a/-"}]'),
    ('{"a":[1]}', '[{"op":"replace","path":"/a/-","value":1}]'),
    ('{"a":[1,2]}', '[{"op":"remove","path":"/a/01"}]'),
    ('{"a":[1,2]}', '[{"op":"remove","path":"/a/-1"}]'),
    ('{"a":[1,2]}', '[{"op":"remove","path":"/a/1e0"}]'),
    ('{"a":[1,2]}', '[{"op":"remove","path":"/a/\u0661"}]'),
    ('{"a":[1,2]}', '[{"op":"remove","path":"/a/' + "9" * 4000 + '"}]'),
    ('{"a":[1,2]}', '[{"op":"add","path":"/a/b","value":1}]'),
    ('{"a":1}', '[{"op":"move","from":"/b","path":"/a"}]'),
    ('{"a":1}', '[{"op":"copy","from":"/b","path":"/a"}]'),
    ('{"a":1}', '[{"op":"test","path":"/b","value":null}]'),
    ('{"a":1}', '[{"op":"remove","path":""},{"op":"remove","path":""}]'),
]


@pytest.mark.parametrize(("document", "patch"), MISSES)
def test_a_path_that_does_not_exist_is_told(document: str, patch: str) -> None:
    with pytest.raises(PatchMissed, match=r"^operation [01]: the path does not exist$"):
        done(document, patch)


MALFORMED = [
    "",
    "{}",
    "null",
    '"[]"',
    "[",
    '[],"more":1',
    '[]},{"patch":[]',
    "[1]",
    "[[]]",
    "[{}]",
    '[{"op":"spam","path":"/a"}]',
    '[{"op":["add"],"path":"/a"}]',
    '[{"op":"add","path":"/a"}]',
    '[{"op":"replace","path":"/a"}]',
    '[{"op":"test","path":"/a"}]',
    '[{"op":"add","value":1}]',
    '[{"op":"add","path":null,"value":1}]',
    '[{"op":"add","path":"a","value":1}]',
    '[{"op":"add","path":"/a~","value":1}]',
    '[{"op":"add","path":"/a~2","value":1}]',
    '[{"op":"move","path":"/a"}]',
    '[{"op":"copy","path":"/a","from":"b"}]',
    '[{"op":"move","from":"/a","path":"/a/b"}]',
    '[{"op":"move","from":"","path":"/b"}]',
    '[{"op":"remove","path":"/a","path":"/b"}]',
    '[{"op":"remove","op":"add","path":"/a","value":1}]',
    '[{"op":"add","path":"/a","value":1e999999}]',
    '[{"op":"add","path":"/a","value":' + "[" * 100 + "]" * 100 + "}]",
]


@pytest.mark.parametrize("patch", MALFORMED)
def test_what_is_no_patch_is_refused_before_anything_is_done(patch: str) -> None:
    with pytest.raises(PatchError) as told:
        operations(patch.encode())
    assert told.value.status_hint == 400


@pytest.mark.parametrize(
    ("stands", "asked", "equal"),
    [
        ("1.50", "1.5", True),
        ("100", "1e2", True),
        ("1", "1.0", True),
        ("1.50", "1.51", False),
        ("1", "true", False),
        ("0", "false", False),
        ("1", '"1"', False),
        ("null", "0", False),
        ('"a"', '"A"', False),
        ('"\u00e9"', '"e\u0301"', False),
        ("[1,2]", "[2,1]", False),
        ("[1]", "[1,2]", False),
        ('{"a":1}', '{"a":1,"b":null}', False),
        ("[{}]", "[[]]", False),
        ("12345678901234567890", "12345678901234567891", False),
    ],
)
def test_values_are_compared_by_kind_and_value(stands: str, asked: str, equal: bool) -> None:
    document, patch = f'{{"a":{stands}}}', f'[{{"op":"test","path":"/a","value":{asked}}}]'
    if equal:
        assert done(document, patch) == document
        return
    with pytest.raises(PatchTestFailed, match="operation 0: the test failed"):
        done(document, patch)


def test_numbers_stay_as_they_were_written_wherever_they_go() -> None:
    patch = '[{"op":"copy","from":"/a","path":"/b"},{"op":"move","from":"/a","path":"/c"},'
    patch += '{"op":"add","path":"/d","value":1e2},{"op":"add","path":"/e","value":[0.0000001]}]'
    assert done('{"a":1.50,"z":7.00}', patch) == '{"b":1.50,"c":1.50,"d":1e2,"e":[0.0000001],"z":7.00}'


def test_a_place_is_named_as_far_as_the_document_has_it() -> None:
    with pytest.raises(PatchMissed) as told:
        done('{"resourceType":"Patient","name":[{}]}', '[{"op":"remove","path":"/name/0/Secret"}]')
    assert told.value.expression == "Patient.name[0]"
    assert "Secret" not in str(told.value)


def test_a_patch_can_be_applied_again() -> None:
    """What an earlier application changed in the document is not changed in the patch."""
    found = operations(b'[{"op":"add","path":"/a","value":{}},{"op":"add","path":"/a/b","value":1}]')
    first: Any = applied({}, found)
    assert applied({}, found[:1]) == {"a": {}}
    assert first == {"a": {"b": 1}}


def test_copies_that_double_the_document_are_stopped_before_they_are_made() -> None:
    double = ",".join(f'{{"op":"copy","from":"","path":"/x{n}"}}' for n in range(64))
    with pytest.raises(PatchTooLarge):
        done('{"a":"' + "b" * 1000 + '"}', f"[{double}]", Limits(max_bytes=100_000))


def test_a_document_that_is_moved_into_itself_step_by_step_is_not_copied() -> None:
    deeper = ",".join(
        f'{{"op":"add","path":"/y{n}","value":{{}}}},{{"op":"move","from":"/x","path":"/y{n}/x"}},'
        f'{{"op":"move","from":"/y{n}","path":"/x"}}'
        for n in range(200)
    )
    with pytest.raises(PatchTooLarge, match="deeper"):
        done('{"x":1}', f'[{deeper},{{"op":"copy","from":"/x","path":"/z"}}]')


def test_so_many_operations_and_no_more() -> None:
    one = '{"op":"test","path":"","value":{}}'
    assert done("{}", f"[{','.join([one] * MAX_OPERATIONS)}]") == "{}"
    with pytest.raises(PatchTooLarge):
        operations(f"[{','.join([one] * (MAX_OPERATIONS + 1))}]".encode())
    with pytest.raises(PatchTooLarge):
        operations(b'[{"op":"remove","path":"' + b"/a" * 10_000 + b'"}]')


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('{"a":{"b":1}}', "[]", "[]"),
        ('{"e":null}', '{"a":1.50}', '{"a":1.50,"e":null}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_a_merge_does_what_the_standard_says(target: str, patch: str, result: str) -> None:
    before = decode(target)
    assert encode(merged(before, decode(patch))).decode() == result
    assert encode(before).decode() == target
