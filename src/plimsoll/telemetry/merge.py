"""Several Prometheus texts as one, each with labels of its own added: what the admin API's `/metrics` answers.

The text format (version 0.0.4) wants each family once, its HELP and TYPE before all of its samples. Works line by line:
values and timestamps pass through as they came.
"""

import re
from collections.abc import Iterable, Mapping

# name, what stands between the braces, value and timestamp. A brace inside a quoted value closes nothing.
_SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?(\s+\S.*)\Z', re.DOTALL)
_LABEL = re.compile(r'(\w+)\s*=\s*"(?:[^"\\]|\\.)*"', re.DOTALL)
_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


def merge(sources: Iterable[tuple[Mapping[str, str], str]]) -> str:
    """`sources`: (labels to add, text). A label that a sample has already stays as it is. Lines that are no samples
    are dropped, as is the TYPE of a family that an earlier source declared otherwise."""
    heads: dict[str, dict[str, str]] = {}  # family -> {"HELP": line, "TYPE": line}
    samples: dict[str, list[str]] = {}
    for labels, text in sources:
        typed: set[str] = set()
        for line in text.split("\n"):  # not splitlines: a label value may hold U+2028
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
    match = _SAMPLE.match(line)
    if match is None:
        return "", ""
    name, inside, rest = match.groups()
    inside = (inside or "").strip().removesuffix(",")
    present = set(_LABEL.findall(inside)) if inside else set()
    added = _write({key: value for key, value in labels.items() if key not in present})
    both = ",".join(part for part in (added, inside) if part)
    return name, f"{name}{{{both}}}{rest}" if both else f"{name}{rest}"


def _write(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
