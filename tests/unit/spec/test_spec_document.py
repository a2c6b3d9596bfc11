"""YAML to plain data and lines: what surprises elsewhere, and what could hurt the reader."""

import time

import pytest
import yaml

from plimsoll.core.errors import SpecError
from plimsoll.spec.document import MAX_CHARACTERS, MAX_DEPTH, read_documents


def data_of(text: str) -> object:
    documents, problems = read_documents(text, "f.yaml")
    assert problems == []
    assert len(documents) == 1
    return documents[0].data


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read_documents(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("true", True), ("False", False),
        ("5", 5), ("-5", -5), ("0", 0), ("007", "007"), ("1:30", "1:30"), ("1_000", "1_000"), ("0x10", "0x10"),
        ("0o7", "0o7"), ("+5", "+5"), ("9" * 5000, "9" * 5000), ("0.1", 0.1), ("1e3", 1000.0), ("1e999", "1e999"),
        (".inf", ".inf"), (".nan", ".nan"), ("2024-01-01", "2024-01-01"), ("", None), ("~", None), ("null", None),
        ('"5"', "5"), ("'yes'", "yes"), ("!!str 5", "5"), ("100ms", "100ms"), ("0.1%", "0.1%"), ("=", "="),
        ("|\n  5\n", "5\n"),
    ],
)  # fmt: skip
def test_scalars_are_what_they_look_like(written: str, read: object) -> None:
    value = data_of(f"k: {written}\n")["k"]
    assert value == read
    assert type(value) is type(read)


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a: yes\nb: "5"\nc: 5\nd: &x {e: [1.5, null]}\nf: {<<: *x, "<<": t}\n'
    fast = read_documents(text, "f.yaml")
    monkeypatch.setattr("plimsoll.spec.document._LOADER", yaml.SafeLoader)
    assert read_documents(text, "f.yaml") == fast
    assert fast[1] == []
    assert fast[0][0].data["f"] == {"e": [1.5, None], "<<": "t"}


def test_keys_are_always_text() -> None:
    assert data_of("1: a\nyes: b\n2.5: c\nnull: d\n") == {"1": "a", "yes": "b", "2.5": "c", "null": "d"}


def test_every_key_and_item_has_its_line() -> None:
    documents, _ = read_documents("# a comment\n\na:\n  b: 1\n  c:\n  - x\n  - d: 2\n---\n# next\ne: 3\n", "f.yaml")
    lines = documents[0].origin.lines
    assert dict(lines) == {"a": 3, "a.b": 4, "a.c": 5, "a.c[0]": 6, "a.c[1]": 7, "a.c[1].d": 7}
    assert documents[0].origin.line == 3
    assert dict(documents[1].origin.lines) == {"e": 10}


def test_a_key_left_out_has_the_line_of_its_nearest_parent() -> None:
    origin = read_documents("\na:\n  b:\n  - c: 1\n", "f.yaml")[0][0].origin
    assert origin.line_of("a.b[0].missing.deeper") == 4
    assert origin.line_of("elsewhere") == 2
    assert str(origin.problem("a.b[0].x", "wrong")) == "f.yaml:4  a.b[0].x: wrong"


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\none: *b\ntwo: {<<: *b, x: 9}\nthree: {<<: [*b, *o]}\n"
    data = data_of(text)
    assert data["one"] == {"x": 1, "y": 2}
    assert data["two"] == {"x": 9, "y": 2}
    assert data["three"] == {"x": 1, "y": 2, "z": 4}
    assert read_documents(text, "f")[0][0].origin.line_of("three.z") == 2


def test_a_quoted_merge_key_is_text() -> None:
    assert data_of('"<<": 1\n') == {"<<": 1}


def test_a_duplicate_key_names_both_lines() -> None:
    assert problems_of("a:\n  b: 1\n  c: 2\n  b: 3\n") == [
        "f.yaml:4  a.b: duplicate key; it stands in line 2 already",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n\tb: 1\n", "f.yaml:2  a tab where YAML expects spaces; indent with spaces only"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2  not valid YAML: "),
        ("a: b: c\n", "f.yaml:1  not valid YAML: "),
        ("a: *nothing\n", "f.yaml:1  alias *nothing has no anchor &nothing before it"),
        ("a: 1\nb: &x [1, *x]\n", "f.yaml:2  alias *x stands inside what it names"),
        ("a: !!python/object:os.system x\n", "f.yaml:1  tag 'tag:yaml.org,2002:python/object"),
        ("a: !mine {b: 1}\n", "f.yaml:1  tag '!mine'"),
        ("? [a]\n: 1\n", "f.yaml:1  a list or mapping as a key; expected text"),
        ("a: {<<: 5}\n", "f.yaml:1  << merges mappings"),
        ("a: \x07\n", "f.yaml  not YAML text: "),
        ("a: \ud800\n", "f.yaml  not YAML text: "),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text: str, problem: str) -> None:
    found = problems_of(text)
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "\n" not in found[0]


def test_documents_before_a_syntax_error_are_kept() -> None:
    documents, problems = read_documents("a: 1\n---\nb: [\n", "f.yaml")
    assert [document.data for document in documents] == [{"a": 1}]
    assert len(problems) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200)),
        "[" * 200_000,
        "a: " + "{b: " * 50_000,
        "- " * 100_000,
        "x" * (MAX_CHARACTERS + 1),
        "".join(f"k{n}: {n}\n" for n in range(30_000)),
    ],
    ids=["lists", "merges", "alias chain", "flow lists", "flow mappings", "block lists", "long", "many keys"],
)
def test_bombs_are_refused_quickly(text: str) -> None:
    before = time.process_time()
    _, problems = read_documents(text, "f.yaml")
    assert len(problems) == 1
    assert isinstance(problems[0], SpecError)
    assert time.process_time() - before < 5  # of a machine's own time; without the bounds: for ever


def test_nesting_up_to_the_bound_is_fine() -> None:
    assert problems_of("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert problems_of("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [
        f"f.yaml:1  nested deeper than {MAX_DEPTH} levels"
    ]
