"""What a scaler saw live, shown to a fresh policy: it must say the same."""

import asyncio
import json
from itertools import pairwise
from random import Random

import pytest
from tests.unit.control.scaling_world import Counting, World

from plimsoll.control.scaling.replay import replay
from plimsoll.core.scaling import Decision
from plimsoll.telemetry.scaling_record import Begun, Decided, ScalingRecord, read_scaling_record

SEED = 20_26


class Remembering(Counting):
    """One whose answers hang on all that it ever saw, and on the forecast."""

    def __init__(self, bounds):
        super().__init__(bounds)
        self.level = 0.0

    def decide(self, seen):
        base = super().decide(seen)
        if seen.arrived is not None:
            self.level += 0.3 * (seen.forecast.rate(1.0, 0.9) - self.level)
        count = min(max(round(self.level / 90), self.bounds.least), self.bounds.most)
        evidence = {"level": self.level, "p90": seen.lead.start_p90_s, "a_s": seen.service_time.a_s}
        return Decision(count, f"{base.reason}, level {self.level:.1f}", evidence)


def record_a_run(tmp_path, policy):
    record = ScalingRecord(tmp_path)
    random = Random(SEED)

    async def main():
        world = World(tmp_path, policy=policy, record=record)
        await world.up()
        for second in range(120):
            await world.pass_time(random.choice([1.0, 1.0, 1.001, 0.6, 1.7]))
            if second == 40:
                await world.pass_time(6.0)  # metrics stop
            if second == 60:
                world.backend.crash(world.backend.observe()[0].id)
            if second == 80:
                await world.controller.apply([world.service(scaling="minReplicas: 2, maxReplicas: 5")])
            world.report(random.randint(0, 900), held=second % 3, late=second % 5, busy_s=random.random())
            await world.turn()

    asyncio.run(main())
    record.close()
    return tmp_path / "mood.scaling.jsonl", World(tmp_path, policy=policy).kit


def test_a_recorded_runs_inputs_give_the_same_decisions(tmp_path):
    path, kit = record_a_run(tmp_path, Remembering)
    replayed = list(replay(path, kit))
    assert len(replayed) > 100
    assert len({one.recorded.replicas for one in replayed}) > 3
    assert [one for one in replayed if not one.same] == []


def test_another_policy_says_something_else(tmp_path):
    path, kit = record_a_run(tmp_path, Remembering)
    kit = World(tmp_path, policy=Counting).kit
    assert not all(one.same for one in replay(path, kit))


def test_a_record_is_read_as_it_was_written(tmp_path):
    path, _ = record_a_run(tmp_path, Counting)
    entries = list(read_scaling_record(path))
    begun = [entry for entry in entries if isinstance(entry, Begun)]
    assert [(entry.policy, entry.bounds.least, entry.bounds.most) for entry in begun] == [
        ("budget", 1, 8),
        ("budget", 2, 5),
    ]
    assert begun[0].epoch_s == 5000.0
    seen = [entry.observation(None) for entry in entries if isinstance(entry, Decided)]
    assert any(look.arrived is None for look in seen)
    assert {type(replica).__name__ for look in seen for replica in look.replicas} == {"ScaledReplica"}
    assert {replica.state.value for look in seen for replica in look.replicas} >= {"Ready", "Starting"}
    assert all(later.now > earlier.now for earlier, later in pairwise(seen))


@pytest.mark.parametrize("text", ["{}\n", '{"seen": {}}\n', "[]\n", "x\n"])
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "x.scaling.jsonl"
    path.write_text(text)
    with pytest.raises((ValueError, KeyError, TypeError)):
        list(read_scaling_record(path))


def test_a_decision_needs_a_policy_before_it(tmp_path):
    path, kit = record_a_run(tmp_path, Counting)
    lines = [line for line in path.read_text().splitlines() if "begin" not in json.loads(line)]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="comes before its policy"):
        list(replay(path, kit))
