"""How many replicas run, who decides it and who writes it. A policy's settings stand under its own key."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.spec.base import Part
from plimsoll.spec.scaling_values import CronText, Target, TimeZone
from plimsoll.spec.values import Duration, PositiveDuration, problem_at

MOST_REPLICAS = 100_000  # a typo in a count shows; and a plan's arithmetic stays small
MOST_PRIORITY = 1_000_000

Policy = Literal["Budget", "HPA", "KPA", "Fixed", "Schedule"]
Writer = Literal["Controller", "HPA", "KEDA"]

# What each writer can carry out. Kubernetes' HPA computes for itself (policy HPA), or reads our count as a metric; KEDA
# asks for it (an external scaler). A fixed count needs neither. More pairs can be allowed later, none taken away.
PAIRS: dict[str, tuple[str, ...]] = {
    "Controller": ("Budget", "HPA", "KPA", "Fixed", "Schedule"),
    "HPA": ("Budget", "HPA", "KPA", "Schedule"),
    "KEDA": ("Budget", "KPA", "Schedule"),
}


class Spares(Part):
    """Replicas kept started beside those that serve, so that a burst needn't wait for a cold start."""

    count: int = Field(ge=0, le=MOST_REPLICAS, description="How many. 0: none, whatever the policy would keep.")
    state: Literal["ModelLoaded", "LibrariesLoaded"] = Field(
        default="ModelLoaded",
        description="ModelLoaded: ready to serve at once. LibrariesLoaded: a process that has imported what the model "
        "needs and must still load it; it holds less memory.",
    )


class ScaleDown(Part):
    """How carefully replicas go."""

    stabilization_window: Duration | None = Field(
        default=None,
        description="Replicas go only when none of this time's moments needed them. Default: the policy's own.",
    )


class Hpa(Part):
    """What Kubernetes' HPA keeps near its target."""

    metric: Literal["CPU", "RequestsPerSecond"] = Field(
        default="CPU", description="CPU: the share of the request in use. RequestsPerSecond: of one replica."
    )
    target: Target | None = Field(
        default=None,
        validate_default=True,
        description='Its mean over the replicas: 70% for CPU, "400" for RequestsPerSecond, where it is required. '
        "Default: 70%, for CPU.",
    )
    memory_target: Target | None = Field(
        default=None,
        description="The share of the memory request that is aimed at too; the larger of both counts is taken. With "
        "writer: HPA. Default: memory doesn't count.",
    )

    @field_validator("target")
    @classmethod
    def _target_fits_metric(cls, target: str | None, info: ValidationInfo) -> str | None:
        metric = info.data.get("metric")
        if metric == "RequestsPerSecond" and target is None:
            raise ValueError('missing; RequestsPerSecond needs it: target: "400" (requests a second of one replica)')
        if metric == "RequestsPerSecond" and target is not None and target.endswith("%"):
            raise ValueError(f'{target} is a share; RequestsPerSecond expects a number, such as "400"')
        if metric == "CPU" and target is not None and not target.endswith("%"):
            raise ValueError(f"{target} is not marked as a percentage; CPU expects a share, such as 70%")
        if target is not None and target.endswith("%") and not target[:-1].isdecimal():
            raise ValueError(f"{target} is no whole percentage; expected 1% to 100%")
        return target

    @field_validator("memory_target")
    @classmethod
    def _memory_is_a_share(cls, target: str | None) -> str | None:
        if target is not None and not (target.endswith("%") and target[:-1].isdecimal()):
            raise ValueError(f"{target} is no whole percentage; expected a share of the request, such as 60%")
        return target


class Kpa(Part):
    """What Knative's autoscaler aims at."""

    target: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Requests inside one replica at once; 70% of it is aimed at, as in Knative.",
    )


class ScheduleEntry(Part):
    """From each time it fires until another entry fires."""

    cron: CronText = Field(description='When: minute, hour, day, month, weekday, as in crontab: "0 8 * * 1-5".')
    replicas: int = Field(ge=0, le=MOST_REPLICAS, description="How many from then on.")


class Schedule(Part):
    """How many by the clock."""

    time_zone: TimeZone = Field(default="UTC", description="The zone of all its times: Europe/Berlin.")
    entries: Annotated[tuple[ScheduleEntry, ...], Field(strict=False, min_length=1, max_length=1000)] = Field(
        description="Times and counts."
    )


class Scaling(Part):
    """How many replicas run."""

    min_replicas: int = Field(
        default=1,
        ge=0,
        description="The fewest replicas. 0: none when nobody asks; the first request then waits for one.",
    )
    max_replicas: int | None = Field(
        default=None, ge=1, description="The most replicas. Default: minReplicas, at least 1."
    )
    policy: Policy = Field(
        default="Budget",
        description="Who decides. Budget: the fewest replicas that keep the latency budget. HPA, KPA: as Kubernetes "
        "and Knative do. Fixed: minReplicas. Schedule: by the clock.",
    )
    writer: Writer = Field(
        default="Controller", description="Who writes the count. HPA, KEDA: a cluster's own, with policies they fit."
    )
    scale_to_zero_after: PositiveDuration | None = Field(
        default=None,
        description="Without a request for so long the last replica goes; with minReplicas: 0. Default: 10m.",
    )
    spares: Spares | None = Field(default=None, description="Replicas kept started. Default: as the policy sees fit.")
    hold: Duration = Field(
        default="30s",
        description="How long a request without a deadline of its own may wait for a first replica when none is ready.",
    )
    scale_down: ScaleDown = Field(default_factory=ScaleDown, description="How carefully replicas go.")
    priority: int = Field(
        default=0,
        ge=-MOST_PRIORITY,
        le=MOST_PRIORITY,
        description="Who gets replicas first when there isn't room for all services; higher is sooner.",
    )
    hpa: Hpa | None = Field(default=None, description="Settings of policy HPA. Default: CPU at 70%.")
    kpa: Kpa | None = Field(default=None, description="Settings of policy KPA. Default: 100 requests in a replica.")
    schedule: Schedule | None = Field(
        default=None,
        validate_default=True,
        description="Settings of policy Schedule, where they are required. Default: none, for other policies.",
    )

    @field_validator("max_replicas")
    @classmethod
    def _max_is_not_below_min(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_replicas", 1)
        if most is not None and most < least:
            raise ValueError(f"{most} is below minReplicas; expected {least} or more")
        return most

    @field_validator("policy")
    @classmethod
    def _policy_fits_bounds(cls, policy: str, info: ValidationInfo) -> str:
        least, most = info.data.get("min_replicas"), info.data.get("max_replicas")
        if policy == "HPA" and least == 0:
            message = "HPA doesn't go to zero, as Kubernetes'; expected 1 or more, or another policy: Budget, KPA"
            problem_at(("..", "minReplicas"), message)
        if policy == "Fixed" and least == 0:
            message = "Fixed would serve nobody with 0; expected 1 or more (replicas: 0 pauses a service)"
            problem_at(("..", "minReplicas"), message)
        if policy == "Fixed" and None not in (least, most) and most != least:
            message = f"Fixed runs minReplicas ({least}); remove maxReplicas, or choose a policy that scales: Budget"
            problem_at(("..", "maxReplicas"), message)
        return policy

    @field_validator("writer")
    @classmethod
    def _writer_fits_policy(cls, writer: str, info: ValidationInfo) -> str:
        policy = info.data.get("policy")
        if policy is not None and policy not in PAIRS[writer]:
            *others, last = PAIRS[writer]
            fit = f"{', '.join(others)} or {last}"
            raise ValueError(f"{writer} can't write what policy {policy} decides; expected Controller, or policy {fit}")
        return writer

    @field_validator("scale_to_zero_after")
    @classmethod
    def _zero_is_allowed(cls, after: str | None, info: ValidationInfo) -> str | None:
        least = info.data.get("min_replicas", 0)
        if after is not None and least > 0:
            raise ValueError(f"nothing goes to zero with minReplicas: {least}; remove it, or write minReplicas: 0")
        return after

    @field_validator("hpa", "kpa", "schedule")
    @classmethod
    def _settings_fit_policy(cls, value: object, info: ValidationInfo) -> object:
        policy, key = info.data.get("policy"), str(info.field_name)
        owner = {"hpa": "HPA", "kpa": "KPA", "schedule": "Schedule"}[key]
        if policy is not None and policy != owner and value is not None:
            raise ValueError(f"belongs to policy: {owner}; remove it, or choose that policy")
        if isinstance(value, Hpa) and value.memory_target is not None and info.data.get("writer", "HPA") != "HPA":
            problem_at(("memoryTarget",), "only Kubernetes' HPA measures memory; write writer: HPA, or remove it")
        return value

    @field_validator("schedule")
    @classmethod
    def _schedule_is_within_bounds(cls, schedule: Schedule | None, info: ValidationInfo) -> Schedule | None:
        if info.data.get("policy") == "Schedule" and schedule is None:
            raise ValueError('missing; policy Schedule needs entries: [{cron: "0 8 * * 1-5", replicas: 4}]')
        if schedule is None or "min_replicas" not in info.data or "max_replicas" not in info.data:
            return schedule
        least = info.data["min_replicas"]
        most = info.data["max_replicas"] or max(1, least)
        for index, entry in enumerate(schedule.entries):
            at = ("entries", index, "replicas")
            if entry.replicas > most:
                message = f"{entry.replicas} is above maxReplicas ({most}); expected {most} or less, or raise that"
                problem_at(at, message)
            if entry.replicas < least:
                message = f"{entry.replicas} is below minReplicas ({least}); expected {least} or more, or lower that"
                problem_at(at, message)
        return schedule
