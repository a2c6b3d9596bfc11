"""A controller over a fake backend on a clock that tests turn by hand."""

import asyncio

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.control.controller import Controller
from plimsoll.core.snapshot import EndpointState, GatewayReport, ServiceReport
from plimsoll.spec import load_text


class World:
    """A controller, a fake backend whose replicas' lives a test sets by revision number, one clock for both."""

    def __init__(self, tmp_path) -> None:
        self.folder = tmp_path / "mood"
        self.folder.mkdir()
        self.clock = ManualClock()
        self.lives: dict[int, Life] = {}
        self.backend = FakeBackend(self.clock, script=self._life)
        self.controller = Controller(
            self.backend, run_dir=tmp_path / "run", clock=self.clock, wall=lambda: 1000.0 + self.clock.now()
        )
        self.told = 0
        self.started = asyncio.Event()

    def _life(self, template, replica, restarts):
        self.started.set()
        return self.lives.get(self.number(template.service, template.revision), Life(startup_s=0.4))

    def number(self, service, revision):
        return self.controller._wishes.services[service].number(revision)

    def save(self, code, name="model.py"):
        (self.folder / name).write_text(code)

    def service(self, name="mood", more="", path="./model.py"):
        text = (
            "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\n"
            f"metadata: {{name: {name}}}\nspec:\n  model: {{path: {path}}}\n{more}"
        )
        return load_text(text, file=str(self.folder / "service.yaml"))[0]

    async def apply(self, *services, cause=""):
        applied = await self.controller.apply(list(services) or [self.service()], cause=cause)
        await self.turn()
        return applied

    async def turn(self):
        """Ticks until nothing changes any more at this moment."""
        for _ in range(4):
            await self.controller.tick()
            self.backend.settle()

    async def until(self, moment):
        """Moves the clock from event to event, a turn at each."""
        await self.turn()
        while (due := self.backend.next_event()) is not None and due <= moment:
            self.clock.move_to(due)
            self.backend.settle()
            await self.turn()
        self.clock.move_to(moment)
        await self.turn()

    def events(self):
        """Messages since the last call, without what was merely applied."""
        new = self.controller.timeline.since(self.told)
        self.told = self.controller.timeline.last_seq
        return [f"{event.service} {event.message}" for event in new if event.kind != "applied"]

    def running(self):
        """`rev/phase` of each replica."""
        return sorted(f"{self.number(r.service, r.revision)}/{r.phase.value}" for r in self.backend.observe())

    @property
    def snapshot(self):
        return self.controller.stream.snapshot

    def view(self, name="mood"):
        return next(view for view in self.snapshot.services if view.name == name)

    def endpoints(self, state=EndpointState.READY):
        return [endpoint for endpoint in self.view().endpoints if endpoint.state is state]

    def report(self, version=None, name="mood", **figures):
        entry = ServiceReport(**({"service": name, "requests_per_s": 0.0, "outcomes": {}} | figures))
        version = self.snapshot.version if version is None else version
        self.controller.stream.reports.take(GatewayReport("gateway-0", version, (entry,)))


def timeline(test):
    """Runs an async test."""

    def run(world):
        asyncio.run(test(world))

    run.__name__ = test.__name__
    return run
