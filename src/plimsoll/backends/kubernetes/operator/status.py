"""The status of a ModelService: what it says, and when it is written.

`status_of(look, …)` is the whole; `Writing` decides which of its keys go to the server now: conditions, counts and
names at once, figures when one of them differs by a tenth and at most each 30 s. Written with nothing new to say, a
status would wake everybody who watches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plimsoll.backends.kubernetes.conditions import merged
from plimsoll.backends.kubernetes.names import COMPONENT_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.operator.judging import Look, blinded, judged
from plimsoll.backends.kubernetes.operator.rolling import Phase
from plimsoll.backends.kubernetes.operator.seen import Figures, ServiceObject, seconds, stamp
from plimsoll.backends.kubernetes.operator.wanting import Problem
from plimsoll.core.units import format_duration

FIGURES = ("p50", "p95", "p99", "requestsPerSecond", "errorRate")
_SLOW = (*FIGURES, "figuresAt")


@dataclass(frozen=True, slots=True)
class StatusSettings:
    figures_every_s: float = 30.0
    share: float = 0.1
    words_every_s: float = 30.0  # of a condition whose message alone has changed


def status_of(look: Look, *, now: float) -> Obj:
    """All that is known now, figures as fresh as they are. `now`: seconds since 1970."""
    seen, wish, roll = look.seen, look.wish, look.roll
    service, before = seen.service, seen.service.status
    exist = sum(one.exist for one in seen.workloads)
    figures = seen.figures or Figures()
    known = wish.problem is None
    found: Obj = {
        "observedGeneration": service.generation,
        "conditions": merged(
            before.get("conditions") or (), judged(look), generation=service.generation, now=stamp(now)
        ),
        "url": wish.url if known else before.get("url"),
        "replicas": exist,
        "readyReplicas": seen.ready,
        "desiredReplicas": roll.total if figures.desired is None else figures.desired,
        "ready": f"{seen.ready}/{roll.total}",
        "selector": f"{SERVICE_LABEL}={service.key.name},{COMPONENT_LABEL}=replica",
        "scaleTarget": roll.target,
        "revision": roll.target or wish.revision or "",
        "newRevision": wish.revision if known and roll.phase is not Phase.STEADY else "",
        "budget": _budget(look),
        "modelDigest": wish.model_digest if known else before.get("modelDigest"),
        "resolved": wish.resolved if known else before.get("resolved"),
    }
    if found["newRevision"] == found["revision"]:
        found["newRevision"] = ""
    found |= {
        "p50": _duration(figures.p50_s),
        "p95": _duration(figures.p95_s),
        "p99": _duration(figures.p99_s),
        "requestsPerSecond": _number(figures.requests_per_s),
        "errorRate": None if figures.error_rate is None else f"{_number(100 * figures.error_rate)}%",
    }
    return without_empty(found)


def blind_status(service: ServiceObject, why: Problem, *, now: float) -> Obj:
    """Only that we see nothing; all else stays as it was."""
    conditions = merged(
        service.status.get("conditions") or (), blinded(why), generation=service.generation, now=stamp(now)
    )
    return {**service.status, "conditions": conditions}


@dataclass(slots=True)
class Writing:
    """What was written last, of one service. Nothing else writes these keys, so what was written is what stands there;
    conditions of others' types stay as they are."""

    settings: StatusSettings = field(default_factory=StatusSettings)
    figures: Figures | None = None
    figures_at: float = float("-inf")
    words_at: float = float("-inf")

    def patch(self, status: Obj, stands: Mapping[str, Any], figures: Figures | None, now: float) -> Obj | None:
        """A merge patch of `status`, or None where nothing is to be said. `stands`: the status on the server."""
        found = {key: value for key, value in status.items() if key not in _SLOW and value != stands.get(key)}
        gone = {key: None for key in stands if key not in status and key not in _SLOW and key not in _KEPT}
        early = now - self.words_at < self.settings.words_every_s
        if early and "conditions" in found and _same_but_words(found["conditions"], stands.get("conditions") or ()):
            del found["conditions"]
        if "resolved" in found:  # a merge patch would keep keys that are no longer written
            found["resolved"] = _replaced(stands.get("resolved") or {}, found["resolved"])
        if self._figures_due(figures, stands, now):
            found |= {key: status.get(key) for key in FIGURES if status.get(key) != stands.get(key)}
            found["figuresAt"] = stamp(now)
        found |= gone
        return found or None

    def wrote(self, patch: Mapping[str, Any], figures: Figures | None, now: float) -> None:
        if "figuresAt" in patch:
            self.figures, self.figures_at = figures, now
        if "conditions" in patch:
            self.words_at = now

    def again_s(self, status: Obj, stands: Mapping[str, Any], figures: Figures | None, now: float) -> float | None:
        """Seconds until something held back may be said; None: nothing was."""
        waits = []
        if _differ(self.figures, figures, self.settings.share):
            waits.append(self.figures_at + self.settings.figures_every_s - now)
        if status.get("conditions") != stands.get("conditions"):
            waits.append(self.words_at + self.settings.words_every_s - now)
        return max(0.1, min(waits)) if waits else None

    def _figures_due(self, figures: Figures | None, stands: Mapping[str, Any], now: float) -> bool:
        if figures is None:
            return False  # the controller is away: what it measured last stays, with its time
        if self.figures_at == float("-inf") and stands.get("figuresAt"):
            self.figures_at = min(now, seconds(stands["figuresAt"]))  # another operator wrote it
        return now - self.figures_at >= self.settings.figures_every_s and _differ(
            self.figures, figures, self.settings.share
        )


_KEPT = frozenset({"allocation"})  # others' keys


def _same_but_words(new: Any, old: Any) -> bool:
    def bare(conditions: Any) -> list[Obj]:
        return [{key: value for key, value in one.items() if key != "message"} for one in conditions]

    return bare(new) == bare(old)


def _differ(before: Figures | None, now: Figures | None, share: float) -> bool:
    if now is None:
        return False
    if before is None:
        return any(getattr(now, name) is not None for name in _MEASURED)
    for name in _MEASURED:
        old, new = getattr(before, name), getattr(now, name)
        if (old is None) != (new is None):
            return True
        if old is not None and abs(new - old) > share * max(abs(old), 1e-9):
            return True
    return False


_MEASURED = ("p50_s", "p95_s", "p99_s", "requests_per_s", "error_rate")


def _budget(look: Look) -> str:
    figures, text = look.seen.figures, look.wish.budget or str(look.seen.service.status.get("budget") or "")
    text = text.removesuffix(" exceeded")
    return f"{text} exceeded" if text and figures is not None and figures.within_budget is False else text


def _duration(value_s: float | None) -> str | None:
    return None if value_s is None else format_duration(float(f"{value_s:.3g}"))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _replaced(old: Any, new: Any) -> Any:
    """A merge patch that makes `old` be `new`."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    gone = dict.fromkeys(old.keys() - new.keys())
    return {**gone, **{key: _replaced(old.get(key), value) for key, value in new.items() if old.get(key) != value}}
