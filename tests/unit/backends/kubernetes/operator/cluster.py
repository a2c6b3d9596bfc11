"""A cluster for decisions: workloads whose pods get ready or not, in virtual time. What an operator sees of it may be
late, each workload's state for itself."""

import random

from plimsoll.backends.kubernetes.operator.rolling import Create, Delete, Roll, Scale
from plimsoll.backends.kubernetes.operator.seen import Pod, Seen, ServiceKey, ServiceObject, Trouble, Workload

KEY = ServiceKey("shop", "mood")


def service(**status) -> ServiceObject:
    return ServiceObject(KEY, "uid", 1, {}, {}, {}, ("plimsoll.dev/operator",), False, status, 0.0)


class Toy:
    """`start_s`: from made to ready, by workload (default 3); None: never. `room`: how many pods fit, of all."""

    def __init__(self, room=10_000):
        self.now = 0.0
        self.target = ""
        self.counts: dict[str, int] = {}
        self.made: dict[str, float] = {}
        self.pods: dict[str, list[float]] = {}  # a workload's pods, by when they were made
        self.placed: dict[tuple[str, float], float] = {}
        self.start_s: dict[str, float | None] = {}
        self.crashing: set[str] = set()
        self.room = room
        self.serial = 0.0
        self.told: list[object] = []

    def add(self, name, replicas):
        self.counts[name], self.made[name], self.pods[name] = replicas, self.now, []

    def ready_at(self, name, pod):
        placed, start_s = self.placed.get((name, pod)), self.start_s.get(name, 3.0)
        return None if placed is None or start_s is None else placed + start_s

    def ready(self, name):
        return [pod for pod in self.pods[name] if (at := self.ready_at(name, pod)) is not None and at <= self.now]

    @property
    def serving(self):
        return sum(len(self.ready(name)) for name in self.counts)

    def settle(self):
        """What the Deployment controller and the scheduler do."""
        for name, count in self.counts.items():
            pods = self.pods[name]
            while len(pods) < count:
                self.serial += 1e-6
                pods.append(self.now + self.serial)
            ready = set(self.ready(name))
            # Kubernetes takes those that aren't ready first, then the youngest.
            pods.sort(key=lambda pod: (pod not in ready, pod))
            for gone in pods[count:]:
                self.placed.pop((name, gone), None)
            del pods[count:]
        waiting = sorted(
            (pod, name) for name, pods in self.pods.items() for pod in pods if (name, pod) not in self.placed
        )
        for pod, name in waiting:
            if len(self.placed) < self.room:
                self.placed[name, pod] = self.now

    def workload(self, name):
        pods = self.pods[name]
        return Workload(
            name, "Deployment", self.counts[name], len(pods), len(self.ready(name)), created=self.made[name]
        )

    def pods_of(self, name):
        ready, told = set(self.ready(name)), []
        for index, pod in enumerate(self.pods[name]):
            placed = (name, pod) in self.placed
            trouble = None if placed else Trouble.UNSCHEDULABLE
            if placed and name in self.crashing:
                trouble = Trouble.CRASH
            told.append(
                Pod(f"{name}-{index}", name, pod in ready, scheduled=placed, trouble=trouble, since=pod, restarts=5)
            )
        return told

    def seen(self, workloads=None, pods=None):
        workloads = [self.workload(name) for name in self.counts] if workloads is None else workloads
        pods = [pod for name in self.counts for pod in self.pods_of(name)] if pods is None else pods
        return Seen(service(scaleTarget=self.target) if self.target else service(), workloads, pods)

    def carry_out(self, rolled: Roll):
        for act in rolled.acts:
            self.told.append(act)
            match act:
                case Create(revision, replicas):
                    self.add(revision, replicas)
                case Scale(workload, _, replicas):
                    assert workload != rolled.target or self.target not in (workload, ""), "the scaler's own"
                    self.counts[workload] = replicas
                case Delete(workload):
                    assert self.counts[workload] == 0
                    del self.counts[workload], self.made[workload], self.pods[workload]
        self.target = rolled.target


class LateEyes:
    """Shows each workload, and each one's pods, as they were up to `late_s` ago, never going back in time; but a
    workload never as it was before the operator's own last write to it."""

    def __init__(self, toy, seed, late_s):
        self.toy, self.random, self.late_s = toy, random.Random(seed), late_s
        self.history: dict[tuple[str, str], list[tuple[float, object]]] = {}
        self.shown: dict[tuple[str, str], int] = {}

    def look(self):
        names = list(self.toy.counts)
        workloads = [self._late(("workload", name), self.toy.workload(name)) for name in names]
        pods = [pod for name in names for pod in self._late(("pods", name), self.toy.pods_of(name))]
        return self.toy.seen(workloads, pods)

    def wrote(self, rolled):
        for act in rolled.acts:
            name = getattr(act, "workload", None) or act.revision
            self.shown["workload", name] = len(self.history.get(("workload", name), ()))

    def _late(self, what, now):
        past = self.history.setdefault(what, [])
        past.append((self.toy.now, now))
        fresh = [i for i in range(self.shown.get(what, 0), len(past)) if past[i][0] >= self.toy.now - self.late_s]
        self.shown[what] = self.random.choice(fresh)
        return past[self.shown[what]][1]
