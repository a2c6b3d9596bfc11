"""What a new version would change, and what would start anew because of it."""

import copy

from plimsoll.backends.kubernetes.install import system_objects, values_of
from plimsoll.backends.kubernetes.install.upgrading import Upgrade, upgrade_of
from plimsoll.backends.kubernetes.objects import key_of

WANTED = system_objects(values_of())


def there(objects):
    """As a cluster returns them: with what the server keeps beside."""
    found = {}
    for obj in objects:
        one = copy.deepcopy(obj)
        one["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": []}
        found[key_of(obj)] = one
    return found


def crd(spec, versions=("v1",), stored=("v1",)):
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.plimsoll.dev"},
        "spec": {
            "versions": [
                {
                    "name": name,
                    "storage": name == versions[-1],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                }
                for name in versions
            ]
        },
        "status": {"storedVersions": list(stored)},
    }


def text(**properties):
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


def definition(before, after):
    return upgrade_of([after], there([before]), {})


def test_the_same_again_is_nothing():
    found = upgrade_of(WANTED, there(WANTED), there(WANTED))
    assert found == Upgrade()
    assert found.nothing


def test_a_new_image_rolls_ours_and_every_service_without_one_of_its_own():
    after = system_objects(values_of("image: {tag: '2'}"))
    services = [
        {"metadata": {"namespace": "shop", "name": "mood"}, "spec": {}},
        {"metadata": {"namespace": "shop", "name": "own"}, "spec": {"runtime": {"image": "x"}}},
    ]
    found = upgrade_of(after, there(WANTED), there(after), services)
    assert len(found.restarts) == 4
    assert found.restarts[-1] == "1 plimsoll.dev services get a new revision, one replica after another: shop/mood"
    assert found.restarts[0].endswith("-> plimsoll:2")


def test_another_count_rolls_nothing():
    after = system_objects(values_of("operator: {replicas: 3}"))
    found = upgrade_of(after, there(WANTED), there(after))
    assert found.changed == ("deployment/plimsoll-system/plimsoll-operator",)
    assert found.restarts == ()


def test_what_is_no_longer_made_goes_but_never_what_others_live_in():
    after = system_objects(values_of("webhook: {enabled: false}\ncreateNamespace: false"))
    found = upgrade_of(after, there(WANTED), there(after))
    assert [key.kind for key in found.removed] == ["ValidatingWebhookConfiguration"]


def test_keys_that_come_and_keys_that_go():
    found = definition(crd(text(a="string", b="string")), crd(text(a="string", c="string")))
    assert found.definitions == (
        "things.plimsoll.dev v1: spec.c is new",
        "things.plimsoll.dev v1: spec.b goes",
    )
    assert found.breaking == ("things.plimsoll.dev v1: spec.b would be dropped",)
    assert not definition(crd(text(a="string")), crd(text(a="string", c="string"))).breaking


def test_a_version_that_objects_are_stored_in_is_told_before_it_goes():
    found = definition(crd(text(a="string"), ("v1",)), crd(text(a="string"), ("v2",)))
    assert found.stored == ("things.plimsoll.dev: stored as v1; must be written anew before this",)
    assert found.breaking == ("things.plimsoll.dev: objects written as v1 are refused",)
    both = definition(crd(text(a="string"), ("v1",)), crd(text(a="string"), ("v1", "v2")))
    assert both.stored == ("things.plimsoll.dev: stored as v1; write them anew as v2 after this",)
    assert not both.breaking
