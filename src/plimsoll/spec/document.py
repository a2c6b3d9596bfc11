"""YAML text to plain data plus the line of every key, without YAML's surprises.

Plain scalars follow a strict part of YAML 1.2: only `true` and `false` are booleans (`yes`, `no` and `on` are text),
only canonical decimal numbers are numbers (`007`, `1:30`, `1_000`, `0x10` and dates are text). Keys are always text.
Anchors and `<<` merges work. Duplicate keys, tags, nesting beyond 64 and expansion beyond 20,000 values are errors:
nine lines of aliases can otherwise stand for a billion values.
"""

import re
from dataclasses import dataclass, field

import yaml

from plimsoll.core.errors import SpecError
from plimsoll.spec.origin import Origin, dotted

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 20_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser is ten times faster where it is built in
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"0\Z|-?[1-9][0-9]{0,17}\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?\Z")
_TEXT_TAG = "tag:yaml.org,2002:str"
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", _TEXT_TAG}


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is a dict, list, text, number, boolean or None (an empty document)."""

    data: object
    origin: Origin


@dataclass(slots=True)
class _Node:
    line: int


@dataclass(slots=True)
class _Scalar(_Node):
    value: str | int | float | bool | None
    text: str
    merge: bool = False


@dataclass(slots=True)
class _Sequence(_Node):
    items: list[_Node] = field(default_factory=list)


@dataclass(slots=True)
class _Mapping(_Node):
    pairs: list[tuple[_Scalar, _Node]] = field(default_factory=list)
    pending: _Scalar | None = None


class _Trouble(Exception):
    """The rest of the text can't be read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


def read_documents(text: str, file: str) -> tuple[list[Document], list[SpecError]]:
    """All documents up to the first syntax error, and every problem found. Never raises on any text."""
    documents: list[Document] = []
    problems: list[SpecError] = []
    if len(text) > MAX_CHARACTERS:
        size = f"{len(text):,} characters"
        return [], [
            SpecError(f"{size} are too many for a service file; expected at most {MAX_CHARACTERS:,}", file=file)
        ]
    try:
        for root in _Composed(text):
            documents.append(_Expansion(file, problems).document(root))
    except _Trouble as trouble:
        problems.append(SpecError(trouble.message, file=file, line=trouble.line))
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_error(error, text, file))
    except (yaml.YAMLError, UnicodeError) as error:
        reason = getattr(error, "reason", "") or "unreadable"
        problems.append(SpecError(f"not YAML text: {reason}; expected printable UTF-8", file=file))
    return documents, problems


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 0
    lines = text.splitlines()
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in source[: len(source) - len(source.lstrip())] or "'\\t'" in str(error.problem):
        return SpecError("a tab where YAML expects spaces; indent with spaces only", file=file, line=line)
    reason = " ".join(str(part) for part in (error.context, error.problem) if part)
    return SpecError(f"not valid YAML: {reason}", file=file, line=line)


class _Composed:
    """Iterates over the root node of every document. A loop over parser events, so depth can't exhaust the stack."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._stack: list[_Sequence | _Mapping] = []
        self._anchors: dict[str, _Node] = {}
        self._roots: list[_Node] = []

    def __iter__(self) -> "_Composed":
        return self

    def __next__(self) -> _Node:
        for event in self._events:
            self._take(event)
            if isinstance(event, yaml.DocumentEndEvent) and self._roots:
                return self._roots.pop()
        raise StopIteration

    def _take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
        elif isinstance(event, yaml.ScalarEvent):
            _check_tag(event.tag, line)
            self._add(_scalar(event, line), event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event.tag, line)
            self._open(_Sequence(line), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            _check_tag(event.tag, line)
            self._open(_Mapping(line), event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._aliased(event.anchor, line), None)

    def _aliased(self, anchor: str | None, line: int) -> _Node:
        anchor = anchor or ""
        node = self._anchors.get(anchor)
        if node is None:
            raise _Trouble(line, f"alias *{anchor[:40]} has no anchor &{anchor[:40]} before it")
        if any(node is unfinished for unfinished in self._stack):
            raise _Trouble(line, f"alias *{anchor[:40]} stands inside what it names")
        return node

    def _open(self, node: _Sequence | _Mapping, anchor: str | None) -> None:
        self._add(node, anchor)
        self._stack.append(node)
        if len(self._stack) > MAX_DEPTH:
            raise _Trouble(node.line, f"nested deeper than {MAX_DEPTH} levels")

    def _add(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self._roots.append(node)
            return
        parent = self._stack[-1]
        if isinstance(parent, _Sequence):
            parent.items.append(node)
        elif parent.pending is not None:
            parent.pairs.append((parent.pending, node))
            parent.pending = None
        elif isinstance(node, _Scalar):
            parent.pending = node
        else:
            raise _Trouble(node.line, "a list or mapping as a key; expected text")


def _check_tag(tag: str | None, line: int) -> None:
    if tag not in _PLAIN_TAGS:
        raise _Trouble(line, f"tag {ascii(tag)[:60]} is not supported; write the value without it")


def _scalar(event: yaml.ScalarEvent, line: int) -> _Scalar:
    text = event.value
    plain = not event.style and event.tag is None
    return _Scalar(line, _resolve(text) if plain else text, text, merge=plain and text == "<<")


def _resolve(text: str) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


class _Expansion:
    """One document's nodes to plain data: aliases copied out, merges applied, duplicate keys reported."""

    def __init__(self, file: str, problems: list[SpecError]) -> None:
        self._file, self._problems = file, problems
        self._lines: dict[str, int] = {}
        self._count = 0

    def document(self, root: _Node) -> Document:
        data = self._plain(root, (), 0)
        return Document(data, Origin(self._file, root.line, self._lines))

    def _visit(self, node: _Node, depth: int) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise _Trouble(node.line, f"aliases included, more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise _Trouble(node.line, f"nested deeper than {MAX_DEPTH} levels, aliases included")

    def _plain(self, node: _Node, path: tuple[str | int, ...], depth: int) -> object:
        if isinstance(node, _Mapping):
            return self._mapping(node, path, depth)
        self._visit(node, depth)
        if isinstance(node, _Scalar):
            return node.value
        assert isinstance(node, _Sequence)
        items = []
        for index, item in enumerate(node.items):
            self._lines[dotted((*path, index))] = item.line
            items.append(self._plain(item, (*path, index), depth + 1))
        return items

    def _mapping(self, node: _Mapping, path: tuple[str | int, ...], depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        for name, (line, value) in self._pairs(node, path, depth).items():
            self._lines[dotted((*path, name))] = line
            result[name] = self._plain(value, (*path, name), depth + 1)
        return result

    def _pairs(self, node: _Mapping, path: tuple[str | int, ...], depth: int) -> dict[str, tuple[int, _Node]]:
        """Key to its line and value, merges included: the mapping's own keys win, then the first merged one."""
        self._visit(node, depth)
        pairs: dict[str, tuple[int, _Node]] = {}
        merged: list[_Mapping] = []
        for key, value in node.pairs:
            if key.merge:
                merged += _mappings(value)
            elif key.text in pairs:
                message = f"duplicate key; it stands in line {pairs[key.text][0]} already"
                name = dotted((*path, key.text))
                self._problems.append(SpecError(message, file=self._file, line=key.line, key=name))
            else:
                pairs[key.text] = (key.line, value)
        for other in merged:
            for name, pair in self._pairs(other, path, depth + 1).items():
                pairs.setdefault(name, pair)
        return pairs


def _mappings(value: _Node) -> list[_Mapping]:
    candidates = value.items if isinstance(value, _Sequence) else [value]
    found = [node for node in candidates if isinstance(node, _Mapping)]
    if len(found) != len(candidates):
        raise _Trouble(value.line, "<< merges mappings; expected *anchor of one, or a list of them")
    return found
