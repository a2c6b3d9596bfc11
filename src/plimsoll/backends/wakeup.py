"""`Backend.changed`: wakes whoever waits when there is something new since the last `observe`."""

import asyncio


class Wakeup:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()

    def seen(self) -> None:
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()
