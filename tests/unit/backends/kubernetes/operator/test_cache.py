"""What watches keep of the objects that were made for a service."""

import pytest

from plimsoll.backends.kubernetes.operator.cache import keep_owned
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.seen import ServiceKey

SERVICES = Kind("v1", "Service", "services")


def made(label="mood", owners=("mood",)):
    references = [{"kind": "ModelService", "name": name, "controller": True} for name in owners]
    meta = {
        "name": "mood",
        "namespace": "shop",
        "labels": {"plimsoll.dev/service": label},
        "ownerReferences": references,
    }
    return {"metadata": meta, "spec": {}}


@pytest.mark.parametrize("label", ["mood", "another"])
def test_an_object_is_its_owners_whatever_its_label_says(label):
    kept = keep_owned(made(label), kind=SERVICES)
    assert kept.service == ServiceKey("shop", "mood")
    assert kept.ours


def test_without_an_owner_the_label_tells():
    kept = keep_owned(made("another", owners=()), kind=SERVICES)
    assert kept.service == ServiceKey("shop", "another")
    assert not kept.ours
