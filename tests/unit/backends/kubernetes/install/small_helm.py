"""The part of Helm's template language that the chart keeps to, and nothing beyond it: anything else is an error.

{{ .Values.a.b }}   {{ .Values.a.b | toJson }}   {{ $one.a }}   {{ $.Values.a }}
{{- if .Values.a }} … {{- end }}   {{- if not .Values.a }} … {{- end }}   {{- range $one := .Values.a }} … {{- end }}
"""

import json
import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*\}\}")
_HEAD = re.compile(r"\{\{- (if not|if|range \$one :=) (\S+) \}\}\n")
_END = "{{- end }}\n"


def evaluate(text, values):
    head = _HEAD.match(text)
    if head is None:
        return _filled(text, values, None)
    assert text.endswith(_END), text[-50:]
    body, (word, place) = text[head.end() : -len(_END)], head.groups()
    found = _at(place, values, None)
    if word == "if":
        return _filled(body, values, None) if found else ""
    if word == "if not":
        return "" if found else _filled(body, values, None)
    return "".join(_filled(body, values, one) for one in found)


def _filled(text, values, one):
    def action(match):
        place, pipe, function = match[1].partition(" | ")
        assert not pipe or function == "toJson", match[0]
        value = _at(place, values, one)
        # Go reads numbers as floats, and prints whole ones below 10^21 as we do
        assert pipe or type(value) in (str, int), f"{match[0]} prints {value!r}"
        return json.dumps(value) if pipe else str(value)

    return _ACTION.sub(action, text)


def _at(place, values, one):
    roots = {".Values": values, "$.Values": values, "$one": one}
    root = next(root for root in ("$.Values", ".Values", "$one") if place == root or place.startswith(f"{root}."))
    found = roots[root]
    for key in place[len(root) :].split(".")[1:]:
        assert re.fullmatch("[A-Za-z][A-Za-z0-9]*", key), place
        found = found[key]
    return found
