"""The engine over a virtual model: whatever happens in whatever order, each request has exactly one ending."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.core.errors import Expired, ModelFailed, ReplicaLost, Shed
from plimsoll.core.request import Items, Request
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.policy.admission import AdmissionGate, GateSettings
from plimsoll.policy.batching import BatchQueue, BatchSettings
from plimsoll.server.engine import Ending, Engine

PREDICT_TIMEOUT_S = 5.0


class VirtualRunner:
    """Holds the batch until the test says how it ends."""

    def __init__(self, can_replace):
        self.batches, self.free, self.can_replace = [], True, can_replace
        self.takes_ahead = not can_replace  # as the thread and the process do
        self.took_s = 0.01
        self.given = []
        self.warm_up_times = []

    def run(self, batch):
        assert self.free
        assert len(self.batches) <= self.takes_ahead, "one batch more than it takes"
        self.batches.append(batch)
        self.given += [id(inputs) for inputs in batch]

    def overdue(self):
        if self.can_replace:
            self.batches, self.free = [], False
        return self.can_replace

    def done(self, how):
        batch = self.batches.pop(0)
        if how == "lost":
            self.on_done(ReplicaLost("it died"), 0.0)
        elif how == "failed":
            self.on_done(ModelFailed("it raised"), 0.01)
        else:
            odd = how == "one fails"
            results = [ValueError("one") if odd and index == 0 else inputs for index, inputs in enumerate(batch)]
            self.on_done(results, self.took_s)


class World:
    def __init__(self, can_replace, max_queued=12):
        self.now = 100.0
        self.runner = VirtualRunner(can_replace)
        self.endings, self.requests, self.cancelled, self.hung = {}, [], set(), []
        queue = BatchQueue(BatchSettings(max_size=4))
        self.engine = Engine(
            queue,
            AdmissionGate(GateSettings(max_items=max_queued)),
            self.runner,
            ServiceTimeModel(),
            finish=self.finish,
            begin_alone=lambda request: None,
            on_hang=self.hung.append,
            predict_timeout_s=PREDICT_TIMEOUT_S,
        )
        self.engine._now = lambda: self.now

    def finish(self, request, ending):
        assert request.id not in self.endings, "a second ending"
        assert request.id not in self.cancelled, "an ending for one that was taken back"
        assert (ending.outputs is None) != (ending.error is None)
        if ending.outputs is not None:
            assert ending.outputs is request.inputs, "somebody else's answer"
        if isinstance(ending.error, Expired | Shed):
            assert id(request.inputs) not in self.runner.given, "computed, and then told that it was not"
        self.endings[request.id] = ending

    def submit(self, size, key, left_s, alone):
        request = Request(
            f"r{len(self.requests)}", self.now, self.now + left_s, self.now + left_s, size, key, Items([0] * size),
            alone=alone,
        )  # fmt: skip
        self.requests.append(request)
        error = self.engine.refusal(request)
        if error is None:
            self.engine.submit(request)
        else:
            self.finish(request, Ending(None, error, 0.0, 0.0))

    def cancel(self, index):
        if self.requests:
            request = self.requests[index % len(self.requests)]
            if request.id not in self.endings and request.id not in self.cancelled and self.engine.cancel(request):
                self.cancelled.add(request.id)

    async def step(self, name, *arguments):
        runner = self.runner
        match name:
            case "submit":
                self.submit(*arguments)
            case "cancel":
                self.cancel(*arguments)
            case "done" if runner.batches and not self.hung:
                runner.done(*arguments)
            case "pass":
                self.now += arguments[0]
                self.engine.check()
            case "turn":
                await asyncio.sleep(0)
            case "replaced":
                self.replaced()

    def replaced(self):
        if not self.runner.free:
            self.runner.free = True
            self.runner.on_free()


STEPS = st.one_of(
    st.tuples(
        st.just("submit"), st.integers(1, 6), st.integers(0, 2), st.sampled_from([-1.0, 0.05, 1.0, 60.0]), st.booleans()
    ),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("done"), st.sampled_from(["ok", "ok", "one fails", "failed", "lost"])),
    st.tuples(st.just("pass"), st.sampled_from([0.001, 0.1, 6.0])),
    st.tuples(st.just("turn")),
    st.tuples(st.just("replaced")),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=60), can_replace=st.booleans(), stops=st.booleans(), fast=st.booleans())
def test_each_request_has_exactly_one_ending(steps, can_replace, stops, fast):
    asyncio.run(_play(steps, can_replace, stops, fast))


async def _play(steps, can_replace, stops, fast):
    world = World(can_replace)
    if fast:  # then the next batch is formed ahead
        world.runner.took_s = 0.0005
    for name, *arguments in steps:
        await world.step(name, *arguments)
    if stops:
        world.engine.stop(ReplicaLost("the end"))
    for _ in range(200):  # the model goes on; everything must come to its end
        await asyncio.sleep(0)
        world.replaced()
        if world.runner.batches:
            world.runner.done("ok")
        elif not len(world.engine.queue):
            break
    ended = set(world.endings) | world.cancelled
    assert ended == {request.id for request in world.requests}
    assert world.engine.in_flight == 0


def test_all_that_one_turn_of_the_loop_reads_may_join_one_batch():
    async def play():
        world = World(can_replace=False)
        for _ in range(3):
            world.submit(1, 0, 60.0, False)
        assert not world.runner.batches
        await asyncio.sleep(0)
        assert [len(batch) for batch in world.runner.batches] == [3]

    asyncio.run(play())


def test_behind_a_short_batch_the_next_is_ready():
    async def play():
        world = World(can_replace=False)
        world.runner.took_s = 0.0005
        for _ in range(4):  # four at most go together
            world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        world.runner.done("ok")  # now it is known to be fast
        for count in (4, 4, 3):
            for _ in range(count):
                world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        assert [len(batch) for batch in world.runner.batches] == [4, 4]
        assert world.engine.in_flight == 11
        world.runner.done("ok")
        assert [len(batch) for batch in world.runner.batches] == [4]  # three may still be joined by a fourth
        world.runner.done("ok")
        assert [len(batch) for batch in world.runner.batches] == [3]
        world.runner.done("ok")
        assert world.engine.in_flight == 0

    asyncio.run(play())


def test_a_slow_batch_is_not_decided_ahead_of_its_time():
    async def play():
        world = World(can_replace=False)
        for _ in range(2):
            for _ in range(4):
                world.submit(1, 0, 60.0, False)
            await asyncio.sleep(0)
        world.runner.done("ok")  # 10 ms
        for _ in range(8):
            world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        assert len(world.runner.batches) == 1

    asyncio.run(play())


def test_a_hang_ends_the_running_and_loses_the_queued():
    async def play():
        world = World(can_replace=False)
        world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        world.submit(1, 0, 60.0, False)
        world.now += PREDICT_TIMEOUT_S
        world.engine.check()
        assert isinstance(world.endings["r0"].error, ModelFailed)
        assert isinstance(world.endings["r1"].error, ReplicaLost)
        assert len(world.hung) == 1
        assert "predictTimeout" in world.hung[0]
        world.submit(1, 0, 60.0, False)
        assert isinstance(world.endings["r2"].error, ReplicaLost)
        world.runner.done("ok")  # it came back after all: nobody is told a second time

    asyncio.run(play())


def test_a_hang_that_can_be_replaced_keeps_the_queue():
    async def play():
        world = World(can_replace=True)
        world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        world.submit(1, 0, 60.0, False)
        world.now += PREDICT_TIMEOUT_S
        world.engine.check()
        assert isinstance(world.endings["r0"].error, ModelFailed)
        assert "r1" not in world.endings
        world.now += 20.0  # the new worker takes longer to load than a predict may take
        world.engine.check()
        assert "r1" not in world.endings
        assert not world.hung
        world.runner.free = True
        world.runner.on_free()
        world.runner.done("ok")
        assert world.endings["r1"].outputs is not None

    asyncio.run(play())


def test_a_process_that_stood_still_learns_nothing_from_that():
    async def play():
        world = World(can_replace=False)
        world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        world.now += 1.0  # SIGSTOP, SIGCONT
        world.engine.stalled()
        world.runner.took_s = 1.0
        world.runner.done("ok")
        assert world.engine.learned.estimate.samples == 0
        world.now += 0.01
        world.submit(1, 0, 60.0, False)
        await asyncio.sleep(0)
        world.runner.took_s = 0.01
        world.runner.done("ok")
        assert world.engine.learned.estimate.predict(1) < 0.02

    asyncio.run(play())
