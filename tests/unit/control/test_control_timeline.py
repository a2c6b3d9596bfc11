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


def test_a_step_that_fails_each_tick_makes_one_line():
    timeline = Timeline(lambda: 0.0)
    for _ in range(3):
        timeline.record_once("", Kind.ERROR, "the disk is full")
    timeline.record("mood", Kind.READY, "rev 1 1/1 ready")
    timeline.record_once("", Kind.ERROR, "the disk is full")
    assert [event.message for event in timeline.since()] == ["the disk is full", "rev 1 1/1 ready", "the disk is full"]
    assert timeline.since()[0].level == Level.ERROR


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
