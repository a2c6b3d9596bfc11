"""Outcomes, errors, ids and the service time: the words that everybody uses."""

import inspect
from random import Random

import pytest

from plimsoll.core import errors
from plimsoll.core.errors import HostError, ModelLoadError, PlimsollError, RequestError, SpecError
from plimsoll.core.ids import new_request_id, request_id_from, revision_id
from plimsoll.core.outcome import ANSWERED, CLIENTS_DOING, ERRORS, Outcome
from plimsoll.core.service_time import ServiceTime

LEAVES = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, PlimsollError)]


def test_each_outcome_is_answered_ours_or_the_clients():
    assert set(Outcome) == ANSWERED | ERRORS | CLIENTS_DOING
    assert len(ANSWERED) + len(ERRORS) + len(CLIENTS_DOING) == len(Outcome)


def test_each_failure_has_one_error_and_each_error_one_outcome():
    ended = [kind.outcome for kind in LEAVES if issubclass(kind, RequestError) and "outcome" in vars(kind)]
    assert sorted(ended) == sorted(set(Outcome) - ANSWERED)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_the_tree_at_the_top_of_the_file_names_every_error(kind):
    assert kind.__name__ in errors.__doc__


def test_errors_name_the_place():
    error = SpecError("unknown key", file="service.yaml", line=9, key="spec.scaling.maxReplica")
    assert str(error) == "service.yaml:9  spec.scaling.maxReplica: unknown key"
    assert str(SpecError("empty", file="service.yaml")) == "service.yaml  empty"
    assert (
        str(ModelLoadError("SyntaxError: expected ':'", file="model.py", line=14))
        == "model.py:14 SyntaxError: expected ':'"
    )
    assert str(ModelLoadError("no such file")) == "no such file"
    assert str(HostError("port 8080 is taken")) == "port 8080 is taken"


def test_request_ids_repeat_with_their_seed_and_differ_within_it():
    random = Random(7)
    made = [new_request_id(random.getrandbits) for _ in range(1000)]
    assert made[0] == new_request_id(Random(7).getrandbits)
    assert len(set(made)) == 1000
    assert all(len(one) == 16 for one in made)


@pytest.mark.parametrize("value", [b"abc-1", b"00-4bf92f3577b34da6-00", b"a" * 128, b"user@host:1/2=3+4"])
def test_a_clients_own_request_id_is_kept(value):
    assert request_id_from(value) == value.decode()


@pytest.mark.parametrize("value", [None, b"", b"a" * 129, b"a b", b"a\r\nx: y", b'a"b', b"\xff", b"a\n"])
def test_one_that_could_break_a_log_line_is_not(value):
    assert request_id_from(value) is None


def test_revisions_are_told_apart_by_seven_digits():
    assert revision_id("mood", "7c9e41a0ff") == "mood-7c9e41a"


def test_a_batch_of_b_takes_a_plus_c_b():
    learned = ServiceTime(a_s=0.004, c_s=0.0015, samples=9)
    assert learned.predict(24) == pytest.approx(0.040)
    assert learned.capacity(24) == pytest.approx(600)
    assert learned.largest_within(0.040) == 24
    assert learned.largest_within(0.0399) == 23
    assert learned.largest_within(0.005) == 0
    assert ServiceTime(0.001, 0.0).largest_within(1.0) >= 10**9
    assert ServiceTime(0.0, 0.0).capacity(3) == float("inf")
