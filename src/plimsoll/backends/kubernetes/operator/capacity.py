"""Why a pod fits nowhere, in words that name the resource and the nodes: the scheduler only counts them."""

import re
from collections.abc import Sequence

from plimsoll.backends.kubernetes.operator.seen import Node, Pod
from plimsoll.core.units import parse_quantity

_NAMED = 5  # nodes in a sentence
_INSUFFICIENT = re.compile(r"Insufficient (\S+?)(?=[,.]?(?:\s|$))")
_TAINT = re.compile(r"untolerated taint(?:\(s\))? ?(?:\{([^}:]*):? ?([^}]*)\})?")
_COMMON = frozenset({"cpu", "memory", "ephemeral-storage", "pods"})


def unschedulable_words(pod: Pod, nodes: Sequence[Node]) -> str:
    """`no node has room for mood-7c9-x2x: nvidia.com/gpu: 1 is wanted; in use on gpu-1; none on cpu-1, cpu-2`. Without
    nodes (they may not be read) the scheduler's own words."""
    words = " ".join(pod.words.split())
    wants = dict(pod.wants)
    lacking = list(dict.fromkeys(_INSUFFICIENT.findall(words)))
    said = [_resource(name, wants.get(name, ""), nodes) for name in lacking]
    taints = sorted({found[0].strip() for found in _TAINT.findall(words)})
    if "untolerated taint" in words:
        said.append(_taint([one for one in taints if one], nodes))
    if "didn't match" in words:
        said.append("others don't match its node selector or affinity (podTemplate.spec)")
    if not said:
        return f"no node has room for {pod.name}: {words or 'the scheduler gives no reason'}"
    return f"no node has room for {pod.name}: {'; '.join(said)}"


def _resource(name: str, wanted: str, nodes: Sequence[Node]) -> str:
    asked = f"{name}: {wanted} is wanted" if wanted else f"not enough {name}"
    if not nodes:
        return asked
    none, small, busy = [], [], []
    for node in nodes:
        offers = dict(node.allocatable).get(name)
        if offers is None or _amount(offers) == 0:
            none.append(node.name)
        elif wanted and _amount(offers) < _amount(wanted):
            small.append(f"{node.name} ({offers})")
        else:
            busy.append(node.name)
    parts = [asked]
    if busy:
        parts.append(f"in use on {_some(busy)}")
    if small:
        parts.append(f"too small are {_some(small)}")
    if none and name not in _COMMON:
        parts.append(f"none on {_some(none)}" if busy or small else f"no node offers it ({_some(none)})")
    return ", ".join(parts)


def _taint(taints: Sequence[str], nodes: Sequence[Node]) -> str:
    marked = [node.name for node in nodes if node.taints]
    which = f" {', '.join(taints)}" if taints else ""
    where = f" on {_some(marked)}" if marked else ""
    return f"untolerated taint{which}{where} (podTemplate.spec.tolerations)"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _amount(text: str) -> float:
    """Sums are written `1 + 500m`; what can't be read counts as nothing."""
    try:
        return sum(parse_quantity(part.strip()) for part in text.split("+"))
    except ValueError:
        return 0.0
