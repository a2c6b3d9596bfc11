"""What requests cost beside the model, from the loop's processor time."""

import pytest

from plimsoll.core.service_time import ServiceTime
from plimsoll.server.handling import Handling

MODEL = ServiceTime(0.0002, 4e-6, 1e-5, 50)


def test_nothing_is_added_before_requests_were_counted():
    handling = Handling()
    handling.look(1.0, 0)
    handling.look(1.5, 99)
    assert handling.beside(MODEL) is MODEL


def test_each_item_costs_its_request_too():
    handling = Handling()
    handling.look(1.0, 0)
    handling.look(1.35, 10_000)
    told = handling.beside(MODEL)
    assert told.c_s == pytest.approx(39e-6)
    assert (told.a_s, told.sd_s, told.samples) == (MODEL.a_s, MODEL.sd_s, MODEL.samples)


def test_few_requests_are_gathered_until_they_tell_something():
    handling = Handling()
    handling.look(0.0, 0)
    for second in range(1, 5):
        handling.look(second * 0.002, second * 50)
    assert handling.request_s == pytest.approx(40e-6)


def test_a_change_is_followed_within_seconds():
    handling = Handling()
    handling.look(0.0, 0)
    handling.look(0.04, 1000)
    cpu_s = 0.04
    for second in range(1, 11):
        cpu_s += 0.1
        handling.look(cpu_s, 1000 + second * 1000)
    assert handling.request_s == pytest.approx(100e-6, rel=0.05)
