import asyncio

from plimsoll.control.timeline import Kind, Level, Timeline


def test_readers_name_the_last_number_they_saw_and_the_oldest_are_forgotten():
    timeline = Timeline(lambda: 1000.0, keep=3)
    for number in range(5):
        timeline.record("mood", Kind.APPLIED, f"event {number}")
    assert [event.seq for event in timeline.since()] == [3, 4, 5]
    assert [event.message for event in timeline.since(4)] == ["event 4"]
    assert timeline.since(5) == []
    assert timeline.since(0)[0].at == 1000.0


def test_a_step_that_fails_at_each_turn_makes_one_line_a_minute():
    now = 0.0
    timeline = Timeline(lambda: now)
    told = 0
    for second in range(130):
        now = float(second)
        told += timeline.record_once("a", Kind.ERROR, "the disk is full")
        timeline.record_once("b", Kind.ERROR, "the disk is full")
    assert told == 3
    assert [event.service for event in timeline.since()] == ["a", "b"] * 3
    assert timeline.since()[0].level == Level.ERROR
    now = -3600.0  # somebody set the clock back
    assert timeline.record_once("a", Kind.ERROR, "the disk is full")


def test_followers_get_old_and_new_events_and_end_with_close():
    async def main() -> list[str]:
        timeline = Timeline(lambda: 0.0)
        timeline.record("", Kind.APPLIED, "before")
        seen: list[str] = []
        got_one = asyncio.Event()

        async def follow() -> None:
            async for event in timeline.follow(0):
                seen.append(event.message)
                got_one.set()

        task = asyncio.create_task(follow())
        await got_one.wait()
        timeline.record("", Kind.APPLIED, "one")
        timeline.record("", Kind.APPLIED, "two")
        timeline.close()
        await asyncio.wait_for(task, 5)
        return seen

    assert asyncio.run(main()) == ["before", "one", "two"]
