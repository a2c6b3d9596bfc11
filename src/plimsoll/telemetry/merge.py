"""Several Prometheus texts as one, each with labels of its own added: what the admin API's `/metrics` answers.

The text format (version 0.0.4) wants each family once, its HELP and TYPE before all of its samples. Works line by line:
values and timestamps pass through as they came.
"""

from collections.abc import Iterable, Mapping

_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


def merge(sources: Iterable[tuple[Mapping[str, str], str]]) -> str:
    """`sources`: (labels to add, text). A label that a sample has already stays as it is. Lines that are no samples
    are dropped, as is the TYPE of a family that an earlier source declared otherwise."""
    heads: dict[str, dict[str, str]] = {}  # family -> {"HELP": line, "TYPE": line}
    samples: dict[str, list[str]] = {}
    for labels, text in sources:
        typed: set[str] = set()
        for line in text.splitlines():
            if line.startswith("#"):
                words = line.split(None, 3)
                if len(words) >= 3 and words[0] == "#" and words[1] in {"HELP", "TYPE"}:
                    typed.add(words[2])
                    heads.setdefault(words[2], {}).setdefault(words[1], line)
                    samples.setdefault(words[2], [])
            elif line.strip():
                name, labelled = _labelled(line.strip(), labels)
                if name:
                    samples.setdefault(_family(name, typed), []).append(labelled)
    lines: list[str] = []
    for family, rows in samples.items():
        if rows:
            head = heads.get(family, {})
            lines += [head[word] for word in ("HELP", "TYPE") if word in head]
            lines += rows
    return "\n".join(lines) + "\n" if lines else ""


def _family(name: str, typed: set[str]) -> str:
    if name in typed:
        return name
    for suffix in _SUFFIXES:
        base = name.removesuffix(suffix)
        if base != name and base in typed:
            return base
    return name


def _labelled(line: str, labels: Mapping[str, str]) -> tuple[str, str]:
    """(metric name, the sample with `labels` added); ("", "") for what is no sample."""
    end = next((at for at, char in enumerate(line) if char in "{ \t"), len(line))
    name, rest = line[:end], line[end:]
    if not name or not rest.strip():
        return "", ""
    if not rest.startswith("{"):
        return name, f"{name}{{{_write(labels)}}}{rest}" if labels else line
    close = _closing(rest)
    if close < 0 or not rest[close + 1 :].strip():
        return "", ""
    inside = rest[1:close].strip().removesuffix(",")
    present = _names(inside)
    added = _write({key: value for key, value in labels.items() if key not in present})
    both = ",".join(part for part in (added, inside) if part)
    return name, f"{name}{{{both}}}{rest[close + 1 :]}"


def _closing(rest: str) -> int:
    """Where the brace closes that `rest` starts with; braces inside quoted values don't count. -1: nowhere."""
    quoted = escaped = False
    for at, char in enumerate(rest):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = quoted
        elif char == '"':
            quoted = not quoted
        elif char == "}" and not quoted:
            return at
    return -1


def _names(inside: str) -> set[str]:
    names, quoted, escaped, word = set(), False, False, ""
    for char in inside:
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "=":
            names.add(word.strip(", \t"))
            word = ""
        else:
            word += char
    return names


def _write(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
