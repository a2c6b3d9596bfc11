"""How many replicas `profile` drives together, and when they are all there."""

import pytest

from plimsoll.app.profile import enough, most_here
from plimsoll.control.scaling.capacity import Room
from plimsoll.core.errors import ModelLoadError
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.spec import load_text


def test_as_many_replicas_as_up_would_have_here():
    (service,) = load_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: m}\nspec:\n  model: {path: ./m.py}\n"
        "  resources: {requests: {cpu: 500m}}\n  scaling: {minReplicas: 1, maxReplicas: 3}\n"
    )
    assert most_here(service, Room(8.0), 2**30) == 3  # what the file allows
    assert most_here(service, Room(1.0), 2**30) == 2  # cores for two
    assert most_here(service, Room(0.2), 2**30) == 1
    assert most_here(service, Room(8.0, memory_bytes=2**30), 2**30) == 2  # memory for one beside the one that runs
    assert most_here(service, Room(8.0, memory_bytes=0), 2**30) == 1


def replica(phase, reason=""):
    return ObservedReplica(phase.value, "mood", "mood-1", phase, reason=reason)


def test_all_are_waited_for_and_one_that_fails_ends_the_wait():
    ready, starting = replica(ReplicaPhase.READY), replica(ReplicaPhase.STARTING)
    assert enough([ready], 1) == [ready]
    assert enough([ready, starting], 2) is None
    assert enough([ready, ready, starting], 2) == [ready, ready]
    for phase in (ReplicaPhase.FAILED, ReplicaPhase.BACKING_OFF):
        # behind one that is ready, too: else it would be waited for until the end of time
        with pytest.raises(ModelLoadError, match="mood did not get ready: out of memory"):
            enough([ready, replica(phase, "out of memory")], 2)
