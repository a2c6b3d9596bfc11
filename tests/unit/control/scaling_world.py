"""A controller over the fake backend with traffic: one clock for all, moved a second at a time by a test."""

from math import ceil

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.control.controller import Controller, ControlSettings
from plimsoll.control.scaling.scaler import Kit
from plimsoll.core.scaling import Decision
from plimsoll.core.snapshot import EndpointState, GatewayReport, ServiceReport
from plimsoll.spec import load_text


class Counting:
    """A policy of the tests' own: a replica for each 100 requests a second; zero after `zero_after_s` without any."""

    name = "counting"

    def __init__(self, bounds):
        self.bounds, self.looks, self.busy_at, self.last = bounds, [], None, None

    def decide(self, seen):
        self.looks.append(seen)
        if self.busy_at is None or seen.arrived or seen.waiting:
            self.busy_at = seen.now
        if seen.arrived is None:
            return Decision(min(max(seen.wanted, self.bounds.least), self.bounds.most), "no metrics")
        rate = seen.arrived / seen.over_s
        idle = seen.now - self.busy_at >= self.bounds.zero_after_s
        count = max(0 if idle and not self.bounds.least else 1, ceil(rate / 100), self.bounds.least)
        spares = int(rate >= 600)
        self.last = Decision(min(count, self.bounds.most), f"{rate:.0f}/s", {"rate": round(rate, 3)}, spares=spares)
        return self.last


class Flat:
    """A forecast that says what it heard last, and remembers it all."""

    def __init__(self):
        self.heard = []

    def observe(self, now, arrived, over_s):
        self.heard.append((now, arrived, over_s))

    def rate(self, ahead_s, quantile):
        _, arrived, over_s = self.heard[-1] if self.heard else (0.0, 0, 1.0)
        return arrived / over_s * (0.5 + quantile)

    def burstiness(self):
        return 1.0


class World:
    def __init__(self, tmp_path, *, room=None, policy=Counting, record=None):
        self.folder = tmp_path / "mood"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "model.py").write_text("one")
        self.run_dir, self.clock = tmp_path / "run", ManualClock(1000.0)
        self.lives, self.wall_offset = {}, 0.0
        self.backend = FakeBackend(self.clock, script=self._life)
        self.policies, self.forecasts, self.room = {}, [], room
        kit = {"policy": self._policy, "forecast": self._forecast} | ({} if record is None else {"record": record})
        self.kit, self._make = Kit(**kit), policy
        self.totals = {}  # gateway -> service -> [arrived, late, busy_s]
        self.tenths = [0, 0]  # of every gateway
        self.begin()

    def begin(self):
        """A controller, or the next one over the same replicas."""
        more = {} if self.room is None else {"room": lambda: self.room}
        self.controller = Controller(
            self.backend,
            run_dir=self.run_dir,
            clock=self.clock,
            settings=ControlSettings(scaling=self.kit, **more),
            wall=lambda: 5000.0 + self.clock.now() + self.wall_offset,
        )
        self.told = 0

    def _life(self, template, replica, restarts):
        return self.lives.get(template.service, Life(startup_s=0.4))

    def _policy(self, text, bounds, epoch_s):
        made = self.policies[len(self.policies)] = self._make(bounds)
        return made

    def _forecast(self, epoch_s):
        self.forecasts.append(Flat())
        return self.forecasts[-1]

    @property
    def policy(self):
        return self.policies[len(self.policies) - 1]

    @property
    def seen(self):
        return self.policy.looks[-1]

    def service(self, name="mood", scaling="minReplicas: 1, maxReplicas: 8", more=""):
        text = (
            "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\n"
            f"metadata: {{name: {name}}}\nspec:\n  model: {{path: ./model.py}}\n  scaling: {{{scaling}}}\n{more}"
        )
        return load_text(text, file=str(self.folder / "service.yaml"))[0]

    async def up(self, *services):
        """Applied, and ready."""
        await self.controller.apply(list(services) or [self.service()])
        self.report(0)
        await self.pass_time(0.5)
        self.report(0)
        await self.turn()

    async def turn(self):
        for _ in range(3):
            await self.controller.tick()
            self.backend.settle()

    async def pass_time(self, seconds):
        """Event by event, a turn at each."""
        moment = self.clock.now() + seconds
        await self.turn()
        while (due := self.backend.next_event()) is not None and due <= moment:
            self.clock.move_to(due)
            self.backend.settle()
            await self.turn()
        self.clock.move_to(moment)
        await self.turn()

    def report(self, arrived=0, *, name="mood", gateway="gateway-0", late=0, busy_s=0.0, **figures):
        """`arrived` more came to this gateway, and it says so now."""
        total = self.totals.setdefault(gateway, {}).setdefault(name, [0, 0, 0.0])
        total[0], total[1], total[2] = total[0] + arrived, total[1] + late, total[2] + busy_s
        entries = tuple(
            ServiceReport(one, 0.0, {}, arrived=counts[0], late=counts[1], busy_s=counts[2],
                          tenths=self.tenths[0], tenths_squared=self.tenths[1], **(figures if one == name else {}))
            for one, counts in self.totals[gateway].items()
        )  # fmt: skip
        report = GatewayReport(gateway, self.snapshot.version, entries, at=77.0 + self.clock.now())
        self.controller.stream.reports.take(report)
        self.controller._on_report(report)

    async def seconds(self, rates, **figures):
        """A second for each rate: so many requests come, then the report."""
        for rate in rates:
            await self.pass_time(1.0)
            self.report(rate, **figures)
            await self.turn()

    @property
    def snapshot(self):
        return self.controller.stream.snapshot

    def view(self, name="mood"):
        return next(view for view in self.snapshot.services if view.name == name)

    def endpoints(self, state=EndpointState.READY, name="mood"):
        return [endpoint.replica for endpoint in self.view(name).endpoints if endpoint.state is state]

    def wanted(self, name="mood"):
        return self.controller.status(name).replicas.wanted

    def scaling(self, name="mood"):
        return self.controller.status(name).scaling

    def events(self, *kinds):
        new = self.controller.timeline.since(self.told)
        self.told = self.controller.timeline.last_seq
        return [event for event in new if event.kind in (kinds or {"scaled"})]

    def messages(self, *kinds):
        return [event.message for event in self.events(*kinds)]
