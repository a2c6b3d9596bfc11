"""A round of the autoscaler in words and numbers: "3 → 5: cpu at 118% of request, target 70%"."""

from dataclasses import dataclass

from plimsoll.core.scaling import Decision
from plimsoll.policy.scaling.hpa import behavior
from plimsoll.policy.scaling.hpa.arithmetic import ratio
from plimsoll.policy.scaling.hpa.autoscaler import Reconciled
from plimsoll.policy.scaling.hpa.calculator import Proposal
from plimsoll.policy.scaling.hpa.objects import Tolerances


@dataclass(frozen=True, slots=True)
class Around:
    """What a decision is told against. `before`: replicas wanted before; `target`: percent, or milli-requests/s."""

    before: int
    ready: int
    least: int
    most: int
    target: int
    tolerances: Tolerances


def held(before: int, least: int, most: int, why: str) -> Decision:
    after = min(max(before, least), most)
    text = f"{_bound(before, least, most)}; {why}" if after != before else f"holds, {why}"
    return Decision(after, f"{_change(before, after)}: {text}", {"held": why})


def told(found: Reconciled, around: Around) -> Decision:
    before = around.before
    if found.error and found.asked is None:
        why = "no replica is ready" if around.ready == 0 else found.error
        return held(before, around.least, around.most, why)
    after = min(max(found.replicas, around.least), around.most)
    evidence: dict[str, object] = {"before": before, "ready": around.ready}
    proposal = found.seen[0] if found.seen else None
    if proposal is None:
        text = _bound(before, around.least, around.most)
        return Decision(after, f"{_change(before, after)}: {text}", evidence)
    evidence |= {"asked": found.asked, "stabilized": found.stabilized, "limited": found.limited}
    if proposal.utilization is not None:
        evidence |= {"metric": "cpu", "percent": proposal.utilization, "target": around.target}
        text = f"cpu at {proposal.utilization}% of request, target {around.target}%"
    else:
        evidence |= {"metric": "rps", "rate": proposal.usage / 1000, "target": around.target / 1000}
        text = f"{proposal.usage / 1000:.4g}/s a replica, target {around.target / 1000:.4g}/s"
    return Decision(after, f"{_change(before, after)}: {text}{_but(found, proposal, after, around)}", evidence)


def _change(before: int, after: int) -> str:
    return f"{after}" if before == after else f"{before} → {after}"


def _bound(before: int, least: int, most: int) -> str:
    return f"the most is {most}" if before > most else f"the least is {least}"


def _but(found: Reconciled, proposal: Proposal, after: int, around: Around) -> str:
    """Why it is not simply what the metric asks for."""
    said = ""
    if found.asked is not None and found.asked != found.stabilized:
        window = "the lowest" if found.asked > around.before else "the highest"
        said = f"; {found.asked} would do, held by {window} of the window"
    if after != found.stabilized:
        match found.limited:
            case behavior.TOO_MANY:
                said += f"; {found.stabilized} wanted, the most is {around.most}"
            case behavior.TOO_FEW:
                said += f"; {found.stabilized} wanted, the least is {around.least}"
            case behavior.UP_LIMIT | behavior.DOWN_LIMIT:
                said += f"; {found.stabilized} wanted, {after} is as far as it may go at once"
    if not said and after == around.before:
        value = proposal.usage if proposal.utilization is None else proposal.utilization
        off = ratio(value, around.target)
        if around.tolerances.is_within(off):
            said = ", near enough"
        else:
            said = ", one fewer would be too few" if off < 1 else ", until replicas not measured yet carry their share"
    return said
