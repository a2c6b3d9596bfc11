"""The election: as a timeline over a Lease that lives in a dict, and its host over a server of two verbs."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plimsoll.backends.kubernetes.api import Api, ApiError
from plimsoll.backends.kubernetes.operator.lease import Elected, Election, LeaseSettings

WALL = datetime(2024, 5, 1, tzinfo=UTC)


class Shelf:
    """One Lease, with resourceVersions."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0

    def write(self, lease: dict[str, Any]) -> dict[str, Any]:
        there = None if self.lease is None else self.lease["metadata"]["resourceVersion"]
        if lease["metadata"].get("resourceVersion") != there:
            raise ApiError(409, "Conflict", "another was quicker")
        self.version += 1
        self.writes += 1
        self.lease = lease | {"metadata": lease["metadata"] | {"resourceVersion": str(self.version)}}
        return self.lease


def turn(election: Election, shelf: Shelf, now: float, skew_s: float = 0.0) -> bool:
    """One turn at `now` of the process's own clock, whose wall clock is off by `skew_s`. Whether it leads."""
    election.observe(shelf.lease, now)
    lease = election.claim(now, WALL + timedelta(seconds=now + skew_s))
    if lease is not None:
        election.wrote(shelf.write(lease), now, now)
    return election.leads(now)


def one(name: str) -> Election:
    return Election("plimsoll-system", "plimsoll-operator", name)


def test_the_first_leads_and_the_second_waits_until_it_is_silent_for_the_duration() -> None:
    shelf, a, b = Shelf(), one("a"), one("b")
    assert turn(a, shelf, 0)
    assert not turn(b, shelf, 1)
    for now in (2, 4, 6):
        assert turn(a, shelf, now)
        assert not turn(b, shelf, now + 1)
    # a is silent from 6 on; b saw that last change at 7
    assert a.leads(15.9)
    assert not a.leads(16.1), "10 s after the last renewal it must have stopped"
    assert not turn(b, shelf, 21.9)
    assert turn(b, shelf, 22.1)
    assert shelf.lease is not None
    assert shelf.lease["spec"]["leaseTransitions"] == 1
    assert not turn(a, shelf, 23), "the first comes back and sees who leads"


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
def test_a_clock_an_hour_off_neither_steals_nor_waits_for_ever(skew_s: float) -> None:
    shelf, a, b = Shelf(), one("a"), one("b")
    assert turn(a, shelf, 0, skew_s)
    assert not turn(b, shelf, 0)
    assert not turn(b, shelf, 14)
    assert turn(b, shelf, 16)


def test_a_released_lease_is_taken_at_once() -> None:
    shelf, a, b = Shelf(), one("a"), one("b")
    turn(a, shelf, 0)
    turn(b, shelf, 1)
    released = a.release(2, WALL)
    assert released is not None
    shelf.write(released)
    assert not a.leads(2)
    assert turn(b, shelf, 2.1)
    assert a.release(3, WALL) is None, "what isn't held isn't given back"


def test_two_that_start_together_meet_in_the_server() -> None:
    shelf, a, b = Shelf(), one("a"), one("b")
    for election in (a, b):
        election.observe(shelf.lease, 0)
    first, second = a.claim(0, WALL), b.claim(0, WALL)
    assert first is not None
    assert second is not None
    a.wrote(shelf.write(first), 0, 0)
    with pytest.raises(ApiError):
        shelf.write(second)
    assert a.leads(0)
    assert not b.leads(0)


def test_a_holder_counts_from_before_it_asked() -> None:
    shelf, a = Shelf(), one("a")
    a.observe(None, 0)
    lease = a.claim(0, WALL)
    assert lease is not None
    a.wrote(shelf.write(lease), asked_at=0, now=8)  # a slow answer
    assert a.leads(9.9)
    assert not a.leads(10.1)


def test_a_label_of_anothers_is_no_sign_of_life() -> None:
    shelf, a, b = Shelf(), one("a"), one("b")
    turn(a, shelf, 0)
    turn(b, shelf, 0)
    assert shelf.lease is not None
    shelf.write(shelf.lease | {"metadata": shelf.lease["metadata"] | {"labels": {"team": "ours"}}})
    assert not turn(b, shelf, 14)
    assert turn(b, shelf, 15.1)


class OneLease(Api):
    """An API server that knows one Lease; `down` makes it answer 503."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf, self.down = shelf, False

    async def get(self, path: str, params: Any = None) -> Any:
        self._up()
        if self.shelf.lease is None:
            raise ApiError(404, "NotFound", "no lease")
        return self.shelf.lease

    async def post(self, path: str, body: Any, params: Any = None) -> Any:
        self._up()
        return self.shelf.write(body)

    put = post

    def _up(self) -> None:
        if self.down:
            raise ApiError(503, "ServiceUnavailable", "down")


def test_the_host_takes_holds_tells_and_gives_back() -> None:
    asyncio.run(_host())


async def _host() -> None:
    shelf, now = Shelf(), 0.0
    api = OneLease(shelf)
    said: list[tuple[str, bool]] = []
    quick = LeaseSettings(every_s=0.005)

    def host(name: str) -> Elected:
        told = said.append
        return Elected(api, "s", "l", name, settings=quick, clock=lambda: now, on_change=lambda it: told((name, it)))

    a, b = host("a"), host("b")
    first = asyncio.create_task(a.run())
    await _until(lambda: a.leading)
    second = asyncio.create_task(b.run())
    writes = shelf.writes
    await _until(lambda: shelf.writes >= writes + 3)  # it goes on being renewed, and the second looks on
    assert (a.leading, b.leading) == (True, False)
    api.down = True
    await _until(lambda: a.problem != "")
    assert a.leading, "a short outage changes nothing"
    now = 11.0
    assert not a.leading, "without a renewal it stops by its own clock"
    await _until(lambda: ("a", False) in said)
    api.down = False
    await _until(lambda: a.leading)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await a.release()
    await _until(lambda: b.leading)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert said == [("a", True), ("a", False), ("a", True), ("a", False), ("b", True)]


def test_a_moment_of_not_leading_is_told_even_where_the_next_renewal_goes_well() -> None:
    asyncio.run(_flicker())


async def _flicker() -> None:
    shelf, now, said = Shelf(), 0.0, []
    api = OneLease(shelf)
    quick = LeaseSettings(every_s=0.005)
    elected = Elected(api, "s", "l", "a", settings=quick, clock=lambda: now, on_change=said.append)
    task = asyncio.create_task(elected.run())
    await _until(lambda: elected.leading)
    now = 11.0  # the process was stopped for a while
    assert not elected.leading
    await _until(lambda: elected.leading)
    await _until(lambda: len(said) == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert said == [True, False, True]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.001)
