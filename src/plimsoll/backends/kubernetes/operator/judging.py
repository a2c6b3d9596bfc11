"""Conditions of a service from what is seen of it: each says what is so, why, and where there is one the remedy.

`judged(look) -> [Condition]`, pure. `Ready` is True while requests are answered, whatever else is wrong: then its
reason says what. Who writes `kubectl wait --for=condition=Ready` after an edit also looks at `observedGeneration`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.backends.kubernetes.conditions import Condition, Reason, Type
from plimsoll.backends.kubernetes.operator.capacity import unschedulable_words
from plimsoll.backends.kubernetes.operator.rolling import Phase, Roll
from plimsoll.backends.kubernetes.operator.seen import Figures, Pod, Seen, Trouble, Workload
from plimsoll.backends.kubernetes.operator.wanting import Problem, Wish
from plimsoll.core.units import format_duration

_OWN_EXITS = {2: "its service file can't be used", 3: "the model did not load", 4: "a predict hung"}
_LONGEST = 600


@dataclass(frozen=True, slots=True)
class Look:
    """`refused`: what the API server last refused, in words that name the remedy; None while all was applied."""

    seen: Seen
    wish: Wish
    roll: Roll
    refused: Problem | None = None


def blinded(why: Problem) -> list[Condition]:
    """While what services consist of can't be seen: nothing else is known, and nothing is done."""
    return [Condition(Type.READY, None, why.reason, _cut(why.message))]


def judged(look: Look) -> list[Condition]:
    trouble = trouble_of(look)
    return [_ready(look, trouble), _loaded(look, trouble), _route(look), _capacity(look), _budget(look)]


# --- Ready ------------------------------------------------------------------------------------------------------------


def _ready(look: Look, trouble: Problem | None) -> Condition:
    seen, roll = look.seen, look.roll
    if seen.service.deleting or seen.namespace_ending:
        what = "the namespace is being deleted" if seen.namespace_ending else "the service is being deleted"
        return Condition(Type.READY, False, Reason.TERMINATING, f"{what}; nothing new is made in it")
    serves, wrong = seen.ready > 0, look.wish.problem or look.refused
    if seen.service.paused:
        return Condition(
            Type.READY, serves, Reason.PAUSED, "plimsoll.dev/paused is true: its objects are left alone; remove it"
        )
    if wrong is not None:
        older = f" (what was there before serves on: {seen.ready} ready)" if serves else ""
        return Condition(Type.READY, serves, wrong.reason, _cut(wrong.message) + older)
    if serves:
        return _serving(look, trouble)
    target = seen.workload(roll.target)
    if target is not None and roll.total == 0:
        message = "no replica runs; the first request starts one and waits for it (spec.scaling.hold)"
        return Condition(Type.READY, True, Reason.SCALED_TO_ZERO, message)
    if trouble is not None:
        return Condition(Type.READY, False, trouble.reason, trouble.message)
    return Condition(Type.READY, False, Reason.STARTING, f"0 of {roll.total} replicas are ready")


def _serving(look: Look, trouble: Problem | None) -> Condition:
    roll, wanted = look.roll, look.wish.revision
    if roll.phase is Phase.FAILED:
        why = f": {trouble.message}" if trouble is not None else ""
        message = f"{wanted} does not get ready and {roll.target} serves on{why}"
        return Condition(Type.READY, True, Reason.REVISION_FAILED, _cut(message))
    ready = f"{look.seen.ready} of {roll.total} replicas are ready"
    if roll.phase is Phase.ROLLING:
        new = look.seen.workload(wanted or "")
        count = 0 if new is None else look.seen.ready_of(new)
        waits = f"; {trouble.message}" if trouble is not None else ""
        return Condition(
            Type.READY, True, Reason.ROLLING_OUT, _cut(f"{count} of {roll.total} replicas are {wanted}{waits}")
        )
    if look.seen.scaler:
        ready = _cut(f"{ready}; the HPA keeps its last count: {_scaler_words(look.seen.scaler)}")
    elif look.wish.note:
        ready = f"{ready}; {look.wish.note}"
    return Condition(Type.READY, True, Reason.SERVING, ready)


def _scaler_words(said: str) -> str:
    words = _one_line(said)
    if "external metric" in words and "could not find the requested resource" in words:
        return f"{words}; serve it: plimsoll upgrade --set metricsApis.external=true"
    return words


# --- what is wrong with pods ------------------------------------------------------------------------------------------

# Which of several troubles is told: those that nothing but a person mends come first.
_ORDER = (Trouble.CONFIG, Trouble.IMAGE, Trouble.FETCH, Trouble.MEMORY, Trouble.CRASH, Trouble.UNSCHEDULABLE)


def trouble_of(look: Look) -> Problem | None:
    """What keeps the wanted revision's pods from serving; None where nothing is known to."""
    seen, name = look.seen, look.wish.revision or look.roll.target
    pods = seen.pods_of(name)
    for pod in pods:
        words = seen.mounts.get(pod.name)
        if words is not None and not pod.ready and pod.trouble is None:
            return _missing(pod, words)
    troubled = sorted(
        (pod for pod in pods if pod.trouble is not None),
        key=lambda pod: (_ORDER.index(pod.trouble or Trouble.CRASH), pod.since, pod.name),
    )
    if troubled:
        return _pod_words(look, troubled[0])
    workload = seen.workload(name)
    return _workload_words(workload) if workload is not None else None


def _pod_words(look: Look, pod: Pod) -> Problem:
    words = _one_line(pod.words.partition("Traceback (most recent call last")[0] or pod.words)  # `logs` has the rest
    match pod.trouble:
        case Trouble.CONFIG:
            return _missing(pod, words)
        case Trouble.IMAGE:
            return _image(pod, words)
        case Trouble.FETCH:
            remedy = "check spec.model.uri, its digest and its secretRef"
            return Problem(
                Reason.MODEL_FETCH_FAILED, _cut(f"the model can't be fetched: {words or 'no word'}; {remedy}")
            )
        case Trouble.MEMORY:
            remedy = "raise spec.resources.limits.memory"
            return Problem(Reason.CRASH_LOOPING, f"{pod.name} was ended at its memory limit; {remedy}")
        case Trouble.UNSCHEDULABLE:
            return Problem(Reason.UNSCHEDULABLE, unschedulable_words(pod, look.seen.nodes))
        case _:
            return _crash(look, pod, words)


def _crash(look: Look, pod: Pod, words: str) -> Problem:
    known = _OWN_EXITS.get(pod.exit_code or 0)
    said = f": {words}" if words else ""
    if known is None:
        how = f"exits with {pod.exit_code}{said}"
    elif pod.exit_code == 4:
        how = f"{known}{said}"
    else:
        how = words or known
    remedy = f"see: kubectl logs -n {look.seen.service.key.namespace} {pod.name} --previous"
    message = _cut(f"{pod.name}: {how}; {remedy}" if known is None or not words else f"{pod.name}: {how}")
    # One that never came up can't load; one that did and ends again and again is another matter.
    reason = Reason.MODEL_FAILED if pod.exit_code in (2, 3) else Reason.CRASH_LOOPING
    return Problem(reason, message)


def _missing(pod: Pod, words: str) -> Problem:
    found = re.search(r'(secret|configmap) "?([^"\s]+?)"? not found', words)
    if found is not None:
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[found[1]]
        remedy = f"create it: kubectl create {'secret generic' if kind == 'Secret' else 'configmap'} {found[2]} …"
        if kind == "ConfigMap" and "-model-" in found[2]:  # the packed model, which an apply of the file brings
            remedy = "apply the service's file again: plimsoll apply FILE --context NAME"
        reason = Reason.SECRET_MISSING if kind == "Secret" else Reason.STARTING
        return Problem(reason, f"{pod.name} waits for the {kind} {found[2]}, which does not exist; {remedy}")
    missing = re.search(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)", words)
    if missing is not None:
        where = missing[3].rpartition("/")[2]
        return Problem(Reason.SECRET_MISSING, f"{pod.name}: the {missing[2]} {where} has no key {missing[1]}; add it")
    return Problem(Reason.STARTING, _cut(f"{pod.name} can't be set up: {words}"))


def _image(pod: Pod, words: str) -> Problem:
    # Kubelets alternate between "Back-off pulling" and the error itself: what is told must not.
    why = re.sub(r'^Back-off pulling image "[^"]*"(: )?', "", words).removeprefix("ErrImagePull: ")
    remedy = "check its name, and podTemplate.spec.imagePullSecrets"
    said = f": {why}" if why else ""
    return Problem(Reason.IMAGE_PULL_FAILED, _cut(f"the image {pod.image} can't be pulled{said}; {remedy}"))


def _workload_words(workload: Workload) -> Problem | None:
    words = _one_line(workload.failure)
    if "exceeded quota" in words:
        return Problem(Reason.QUOTA_EXCEEDED, _cut(f"no pod may be made: {words}; raise the quota, or ask for less"))
    if words:
        return Problem(Reason.APPLY_FAILED, _cut(f"no pod may be made: {words}"))
    if workload.stuck:
        return Problem(Reason.REVISION_FAILED, f"{workload.name} did not get ready within its progress deadline")
    return None


# --- the others -------------------------------------------------------------------------------------------------------


def _loaded(look: Look, trouble: Problem | None) -> Condition:
    revision = look.wish.revision
    workload = None if revision is None else look.seen.workload(revision)
    if workload is None:
        return Condition(
            Type.MODEL_LOADED, False if look.wish.problem else None, Reason.NOT_LOADED, "it was not started yet"
        )
    if look.seen.ready_of(workload) > 0:
        return Condition(Type.MODEL_LOADED, True, Reason.LOADED, f"{revision} has loaded it")
    if workload.replicas == 0:
        return Condition(Type.MODEL_LOADED, None, Reason.NOT_LOADED, "no replica runs")
    told = {Reason.MODEL_FAILED, Reason.MODEL_FETCH_FAILED, Reason.CRASH_LOOPING}
    if trouble is not None and trouble.reason in told:
        return Condition(Type.MODEL_LOADED, False, trouble.reason, trouble.message)
    return Condition(Type.MODEL_LOADED, False, Reason.NOT_LOADED, f"no replica of {revision} has loaded it yet")


def _route(look: Look) -> Condition:
    routes = look.seen.routes
    refused = next((one for one in routes if one.accepted is False), None)
    if refused is not None:
        return Condition(
            Type.ROUTE_READY, False, Reason.ROUTE_REFUSED, _cut(refused.words or "its Gateway refuses the route")
        )
    waiting = [one for one in routes if one.accepted is None]
    if waiting:
        message = "no Gateway has taken the route yet; does the one in Platform spec.gateway.parentRefs exist?"
        return Condition(Type.ROUTE_READY, False, Reason.GATEWAY_MISSING, message)
    if look.wish.problem is not None and look.seen.ready == 0:
        return Condition(Type.ROUTE_READY, None, Reason.STARTING, "nothing is routed before the spec is understood")
    key, url = look.seen.service.key, look.wish.url or str(look.seen.service.status.get("url"))
    # The gateway's own address is every namespace's: the host says whose service of that name is meant.
    host = f", by the host {key.name}.{key.namespace}" if url.endswith(f"/v2/models/{key.name}") else ""
    return Condition(Type.ROUTE_READY, True, Reason.ROUTED, f"reached at {url}{host}")


def _capacity(look: Look) -> Condition:
    for workload in look.seen.workloads:
        found = _workload_words(workload) if workload.replicas > 0 else None
        if found is not None and found.reason is Reason.QUOTA_EXCEEDED:
            return Condition(Type.CAPACITY_AVAILABLE, False, found.reason, found.message)
    homeless = [pod for pod in look.seen.pods if pod.trouble is Trouble.UNSCHEDULABLE and not pod.deleting]
    if homeless:
        first = min(homeless, key=lambda pod: (pod.since, pod.name))
        more = f" (and {len(homeless) - 1} more)" if len(homeless) > 1 else ""
        words = unschedulable_words(first, look.seen.nodes)
        return Condition(Type.CAPACITY_AVAILABLE, False, Reason.UNSCHEDULABLE, _cut(words + more))
    return Condition(Type.CAPACITY_AVAILABLE, True, Reason.SCHEDULED, "every replica has a node")


def _budget(look: Look) -> Condition:
    figures, wish = look.seen.figures, look.wish
    if figures is None or figures.within_budget is None:
        why = "the controller says nothing of it" if figures is None else figures.reason or "there was no request yet"
        return Condition(Type.WITHIN_BUDGET, None, Reason.NO_METRICS, why)
    if figures.within_budget:
        return Condition(Type.WITHIN_BUDGET, True, Reason.WITHIN, _inside(wish))
    over = _over(figures, wish)
    if over:
        key = look.seen.service.key
        see = f"plimsoll status {key.name} --namespace {key.namespace}"
        return Condition(Type.WITHIN_BUDGET, False, Reason.LATENCY, f"{over}; see: {see}")
    if figures.error_rate is not None and wish.error_rate is not None and figures.error_rate > wish.error_rate:
        message = f"{figures.error_rate:.2%} of requests failed, {wish.error_rate:.2%} are allowed"
        return Condition(Type.WITHIN_BUDGET, False, Reason.ERRORS, message)
    reason = Reason.COST if "cost" in figures.reason.lower() else Reason.LATENCY
    return Condition(Type.WITHIN_BUDGET, False, reason, figures.reason or "the budget is exceeded")


def _inside(wish: Wish) -> str:
    """Of what is budgeted alone."""
    latency = (wish.p99_s, wish.p95_s, wish.p50_s) != (None, None, None)
    kinds = (("latency", latency), ("errors", wish.error_rate is not None), ("cost", wish.costs))
    named = [name for name, budgeted in kinds if budgeted]
    if not named:
        return "nothing is budgeted"
    *first, last = named
    told = f"{', '.join(first)} and {last}" if first else last
    return f"{told} {'are' if first or last == 'errors' else 'is'} inside the budget"


def _over(figures: Figures, wish: Wish) -> str:
    pairs = (("p99", figures.p99_s, wish.p99_s), ("p95", figures.p95_s, wish.p95_s), ("p50", figures.p50_s, wish.p50_s))
    for name, is_s, may_s in pairs:
        if is_s is not None and may_s is not None and is_s > may_s:
            return f"{name} is {_milliseconds(is_s)}, {format_duration(may_s)} is allowed"
    return ""


# --- words ------------------------------------------------------------------------------------------------------------


def refusal(code: int, reason: str, message: str, *, doing: str, role: str = "plimsoll-operator") -> Problem:
    """An API server's refusal as a condition. `doing`: `apply Deployment mood-7c9`."""
    text = _one_line(message)
    if "because it is being terminated" in text:
        return Problem(Reason.TERMINATING, "the namespace is being deleted; nothing new is made in it")
    if "exceeded quota" in text:
        return Problem(Reason.QUOTA_EXCEEDED, _cut(f"can't {doing}: {text}"))
    found = re.search(r'cannot (\S+) resource "([^"]+)" in API group "([^"]*)"', text)
    if code == 403 and found is not None:
        resource = f"{found[2]}.{found[3]}" if found[3] else found[2]
        remedy = f"add the verb {found[1]} on {resource} to the ClusterRole {role} (plimsoll install prints it)"
        return Problem(Reason.FORBIDDEN, f"the operator may not {found[1]} {resource}; {remedy}")
    if code == 403:
        return Problem(Reason.FORBIDDEN, _cut(f"can't {doing}: {text}"))
    return Problem(Reason.APPLY_FAILED, _cut(f"can't {doing}: {text or reason}"))


def _milliseconds(value_s: float) -> str:
    return format_duration(float(f"{value_s:.3g}"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def summary(conditions: Sequence[Condition]) -> str:
    """For a log line: `Ready=False SecretMissing`."""
    return ", ".join(f"{one.type}={one.word} {one.reason}" for one in conditions)
