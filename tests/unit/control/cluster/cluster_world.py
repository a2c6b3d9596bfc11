"""A cluster's controller over pods that only pretend: one clock, moved a second at a time by a test."""

from dataclasses import replace
from math import ceil

from plimsoll.backends.fake.backend import ManualClock
from plimsoll.control.cluster.controller import ClusterController, ClusterSettings
from plimsoll.control.scaling.scaler import Kit
from plimsoll.control.stream import SnapshotServer
from plimsoll.core.scaling import Decision
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.snapshot import GatewayReport, ServiceReport
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.spec import ModelService, Platform, Tenant


class Counting:
    """A replica for each 100 requests a second; none after 10 s without any, and who sleeps stays asleep."""

    name = "counting"

    def __init__(self, bounds):
        self.bounds, self.looks, self.busy_at = bounds, [], None

    def decide(self, seen):
        self.looks.append(seen)
        if seen.arrived is None:
            return Decision(min(max(seen.wanted, self.bounds.least), self.bounds.most), "no metrics")
        if self.busy_at is None or seen.arrived or seen.waiting:
            self.busy_at = seen.now
        if not self.bounds.least and seen.now - self.busy_at >= 10:
            return Decision(0, "idle")
        awake = bool(seen.wanted or seen.arrived or seen.waiting)
        count = max(int(awake), ceil(seen.arrived / seen.over_s / 100), self.bounds.least)
        return Decision(min(count, self.bounds.most), f"{seen.arrived / seen.over_s:.0f}/s", spares=int(count > 5))


class Flat:
    def observe(self, now, arrived, over_s):
        pass


class Pods:
    """`Backend`: workloads by (namespace, name) have a count and as many pods; `writes` is what was asked for."""

    def __init__(self, clock):
        self.clock, self.counts, self.writes, self.pods, self.error = clock, {}, [], {}, None

    def observe(self):
        return tuple(self.pods.values())

    async def apply(self, desired):
        if self.error is not None:
            raise self.error
        for one in desired:
            namespace = one.template.service.partition("/")[0]
            key = (namespace, one.template.revision)
            if key in self.counts and self.counts[key] != one.count:
                self.writes.append((one.template.revision, one.count))
                self.counts[key] = one.count

    def start(self, service, revision, number, **more):
        name = f"{revision}-{number}"
        usual = ObservedReplica(
            name, service, revision, ReplicaPhase.READY, address=f"tcp:10.0.0.{number}:8080",
            started_at=self.clock.now() - 5, placed_at=self.clock.now() - 5, ready_at=self.clock.now(),
            load={"queued": 0.0, "in_flight": 1.0, "requests": 0.0},
            service_time=ServiceTime(0.004, 0.001, 0.0, 100),
        )  # fmt: skip
        self.pods[name] = replace(usual, **more)
        return name


class Sink:
    def publish(self, signals):
        self.signals = {f"{one.namespace}/{one.name}": one for one in signals}


class World:
    def __init__(self, *, policy=Counting, secrets=None):
        self.clock, self.policies, self.sink = ManualClock(1000.0), {}, Sink()
        self.backend = Pods(self.clock)
        self.stream = SnapshotServer(None)
        self.leading, self.secrets, self.asked = True, secrets or {}, []
        self.totals = {}

        def make(text, bounds, epoch_s):
            return self.policies.setdefault(text + str(bounds), policy(bounds))

        settings = ClusterSettings(
            secrets=self._secret,
            leading=lambda: self.leading,
            counts=lambda namespace, target: self.backend.counts.get((namespace, target)),
            scaling=Kit(policy=make, forecast=lambda epoch_s: Flat(), start_s=10.0),
        )
        self.controller = ClusterController(
            self.backend, self.stream, self.sink, clock=self.clock, settings=settings,
            wall=lambda: 5_000_000.0 + self.clock.now(),
        )  # fmt: skip

    def _secret(self, namespace, name, key):
        self.asked.append((namespace, name, key))
        try:
            return self.secrets[namespace, name, key]
        except KeyError:
            raise LookupError(f"namespace {namespace} has no secret {name} with key {key}") from None

    def service(self, name="mood", namespace="shop", count=1, target=None, scaling=None, **spec):
        data = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "model": {"path": "./model.py"},
                "budget": {"latency": {"p99": "100ms"}},
                "scaling": scaling or {"minReplicas": 1, "maxReplicas": 8},
                **spec,
            },
        }
        target = f"{name}-1" if target is None else target
        self.backend.counts.setdefault((namespace, target), count)
        self.controller.take_service(f"{namespace}/{name}", ModelService.parse(data), target=target)

    def tenant(self, name="acme", secret="acme-keys"):
        self.controller.take_tenant(
            name,
            Tenant.parse(
                {
                    "apiVersion": "plimsoll.dev/v1alpha1",
                    "kind": "Tenant",
                    "metadata": {"name": name},
                    "spec": {"auth": {"apiKeys": [{"name": "one", "hashSecretRef": {"name": secret, "key": "one"}}]}},
                }
            ),
        )

    def platform(self, **spec):
        self.controller.take_platform(
            Platform.parse(
                {
                    "apiVersion": "plimsoll.dev/v1alpha1",
                    "kind": "Platform",
                    "metadata": {"name": "platform"},
                    "spec": spec,
                }
            )
        )

    def report(self, rates, *, held=0, gateway="gateway-0", over_s=1.0):
        """`rates`: requests a second by service since the last report."""
        entries = []
        for service, rate in rates.items():
            total = self.totals.setdefault((gateway, service), [0, 0.0])
            total[0] += round(rate * over_s)
            total[1] += rate * over_s * 0.02
            entries.append(
                ServiceReport(
                    service, rate, {"ok": round(rate)}, p99_s=0.04, held=held, arrived=total[0], busy_s=total[1]
                )
            )
        report = GatewayReport(gateway, 1, tuple(entries), at=self.clock.now())
        self.stream.reports.take(report)
        self.controller.hear(report)

    async def second(self, **rates):
        """A second of traffic: `mood=250` is of shop/mood."""
        self.clock.move_to(self.clock.now() + 1)
        if rates:
            self.report({f"shop/{name}": rate for name, rate in rates.items()})
        await self.controller.tick()

    @property
    def messages(self):
        return [event.message for event in self.controller.timeline.since()]

    @property
    def snapshot(self):
        return self.stream.snapshot

    def view(self, name):
        return next(view for view in self.snapshot.services if view.name == name)
