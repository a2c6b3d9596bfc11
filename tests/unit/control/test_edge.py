"""Tenants, the platform and secrets, as gateways are told of them: timelines over the fake backend."""

import asyncio
import json
import re

import msgspec
import pytest

from plimsoll.backends.fake.backend import FakeBackend, ManualClock
from plimsoll.control.controller import Controller, ControlSettings
from plimsoll.control.wishes import UnknownName
from plimsoll.core.errors import SpecErrors, UserError
from plimsoll.core.snapshot import CacheBackend, GatewayReport, LimitsView
from plimsoll.spec import load_all_text

HEAD = "apiVersion: plimsoll.dev/v1alpha1\n"
ONE, TWO = "1" * 64, "2" * 64
REDIS = "redis://:hush@10.0.0.1:6379/0"
PLATFORM = (
    HEAD + "kind: Platform\nmetadata: {name: default}\n"
    "spec: {gateway: {rateLimits: {backend: {type: Redis, secretRef: {name: limits, key: url}}}}}\n"
)
CACHE = "  cache: {ttl: 10m, backend: {type: Redis, secretRef: {name: cache, key: url}}}\n"


def service(name="mood", more=""):
    return f"{HEAD}kind: ModelService\nmetadata: {{name: {name}}}\nspec:\n  model: {{path: ./model.py}}\n{more}"


def tenant(name="shop", more="", secret="shop-keys"):
    key = f"{{name: ci, hashSecretRef: {{name: {secret}, key: ci}}}}"
    return f"{HEAD}kind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  auth: {{apiKeys: [{key}]}}\n{more}"


class World:
    def __init__(self, folder):
        self.folder = folder
        (folder / "model.py").write_text("one")
        self.clock = ManualClock()
        self.wall = 1_000.0
        self.secrets = {("shop-keys", "ci"): f"sha256:{ONE}\n"}
        self.backend = FakeBackend(self.clock)
        self.controller = self.start()

    def start(self):
        settings = ControlSettings(gateways=2, secrets=self.read)
        return Controller(
            self.backend, run_dir=self.folder / "run", clock=self.clock, wall=lambda: self.wall, settings=settings
        )

    def read(self, directory, name, key):
        assert directory == self.folder
        try:
            return self.secrets[name, key]
        except KeyError:
            raise LookupError(f"there is no file secrets/{name}/{key}") from None

    async def apply(self, *texts):
        wholes = load_all_text("---\n".join(texts), file=str(self.folder / "service.yaml"))
        applied = await self.controller.apply(wholes)
        await self.controller.tick()
        return [(one.kind, one.name, one.change) for one in applied]

    @property
    def snapshot(self):
        return self.controller.stream.snapshot

    def told(self):
        return [event.message for event in self.controller.timeline.since() if event.kind == "refused"]


def timeline(test):
    def run(tmp_path):
        asyncio.run(test(World(tmp_path)))

    run.__name__ = test.__name__
    return run


@timeline
async def test_tenants_reach_gateways_with_the_services_of_one_call(world):
    applied = await world.apply(service(), tenant(more="  weight: 3\n  quota: {requestsPerSecond: 5}\n"))
    assert applied == [("ModelService", "mood", "created"), ("Tenant", "shop", "created")]
    (view,) = world.snapshot.tenants
    assert (view.name, view.key_digests, view.weight, view.requests_per_s) == ("shop", {"ci": ONE}, 3.0, 5.0)
    assert world.snapshot.limits == LimitsView(gateways=2)
    assert await world.apply(tenant(more="  weight: 3\n  quota: {requestsPerSecond: 5}\n")) == [
        ("Tenant", "shop", "unchanged")
    ]
    version = world.snapshot.version
    assert await world.apply(tenant(more="  weight: 4\n")) == [("Tenant", "shop", "updated")]
    assert world.snapshot.version == version + 1
    assert world.snapshot.tenants[0].weight == 4.0


@timeline
async def test_all_of_a_call_or_nothing(world):
    with pytest.raises(SpecErrors) as caught:
        await world.apply(service(), tenant("lost", secret="nowhere"), tenant("shop"))
    (problem,) = caught.value.errors
    assert problem.line == 11
    assert problem.key == "spec.auth.apiKeys[0].hashSecretRef"
    assert "there is no file secrets/nowhere/ci" in problem.message
    await world.controller.tick()
    assert world.snapshot.services == ()
    assert world.snapshot.tenants == ()


@timeline
async def test_a_key_that_stands_in_the_file_itself_is_refused_and_not_told(world):
    world.secrets["shop-keys", "ci"] = "plm_verysecret"
    with pytest.raises(SpecErrors) as caught:
        await world.apply(tenant())
    assert "line 1 is no hash" in str(caught.value)
    assert "verysecret" not in str(caught.value)


@timeline
async def test_a_rotated_key_opens_at_the_next_turn(world):
    await world.apply(service(), tenant())
    version = world.snapshot.version
    world.secrets["shop-keys", "ci"] = f"sha256:{ONE}\nsha256:{TWO}\n"
    await world.controller.tick()
    assert sorted(world.snapshot.tenants[0].key_digests.values()) == [ONE, TWO]
    assert world.controller.tenants()[0].auth == ("ApiKey ci",)
    world.secrets["shop-keys", "ci"] = f"sha256:{TWO}\n"
    await world.controller.tick()
    assert list(world.snapshot.tenants[0].key_digests.values()) == [TWO]
    assert world.snapshot.version == version + 2


@timeline
async def test_a_secret_that_vanishes_keeps_its_last_value_and_is_told_once(world):
    await world.apply(service(), tenant())
    version = world.snapshot.version
    del world.secrets["shop-keys", "ci"]
    for _ in range(3):
        await world.controller.tick()
    assert world.snapshot.version == version
    assert world.snapshot.tenants[0].key_digests == {"ci": ONE}
    (told,) = world.told()
    assert "there is no file secrets/shop-keys/ci" in told
    assert told.endswith("gateways go on with what it was")


@timeline
async def test_one_key_cannot_be_two_tenants(world):
    with pytest.raises(SpecErrors, match="one of its keys is a key of tenant other too"):
        await world.apply(tenant("other"), tenant("shop"))
    await world.apply(tenant("other"))
    with pytest.raises(SpecErrors, match="is a key of tenant other too"):
        await world.apply(tenant("shop"))


@timeline
async def test_a_deleted_tenant_is_gone_and_unknown_ones_are_named(world):
    await world.apply(service(), tenant())
    assert world.controller.status("mood").anonymous is False
    await world.controller.delete_tenant("shop")
    await world.controller.tick()
    assert world.snapshot.tenants == ()
    assert ONE not in str(vars(world.controller._edge))
    assert world.controller.status("mood").anonymous is True
    with pytest.raises(UnknownName, match="no tenant is named 'shop'; there are: none"):
        await world.controller.delete_tenant("shop")


@timeline
async def test_the_platforms_redis_shares_rates_until_it_is_deleted(world):
    world.secrets["limits", "url"] = f"{REDIS}\n"
    await world.apply(PLATFORM)
    assert world.snapshot.limits == LimitsView(2, REDIS)
    assert world.controller.limits().told.startswith("quotas hold over all gateways together, through Redis; ")
    with pytest.raises(SpecErrors, match="there is one"):
        await world.apply(PLATFORM.replace("default", "second"))
    await world.controller.delete_platform("default")
    await world.controller.tick()
    assert world.snapshot.limits == LimitsView(2)
    assert world.controller.limits().told.startswith("each of 2 gateways takes 1/2")


@timeline
async def test_a_url_that_is_none_is_refused_at_its_line_without_its_text(world):
    world.secrets["limits", "url"] = "http://:hush@10.0.0.1"
    with pytest.raises(SpecErrors) as caught:
        await world.apply(PLATFORM)
    assert caught.value.errors[0].key == "spec.gateway.rateLimits.backend.secretRef"
    assert "is no Redis URL: redis://… or rediss://…" in str(caught.value)
    assert "hush" not in str(caught.value)


@timeline
async def test_a_cache_reaches_gateways_with_its_url(world):
    world.secrets["cache", "url"] = REDIS
    await world.apply(service(more=CACHE))
    cache = world.snapshot.services[0].cache
    assert (cache.backend, cache.url, cache.ttl_s, cache.epoch) == (CacheBackend.REDIS, REDIS, 600.0, 1000)


@timeline
async def test_a_purge_raises_the_epoch_and_returns_when_gateways_have_it(world):
    await world.apply(service(more="  cache: {ttl: 10m}\n"))
    world.controller.stream.reports.take(GatewayReport("gateway-0", world.snapshot.version))
    world.wall += 0.5
    purging = asyncio.ensure_future(world.controller.purge("mood"))
    for _ in range(20):  # turns of the loop
        await asyncio.sleep(0)
    assert world.snapshot.services[0].cache.epoch == 1001, "two in one second are two"
    assert not purging.done()
    world.controller.stream.reports.take(GatewayReport("gateway-0", world.snapshot.version))
    world.controller.stream._wake()
    purged = await asyncio.wait_for(purging, 5)
    assert (purged.name, purged.gateways, purged.acknowledged) == ("mood", 1, True)
    assert purged.version == world.snapshot.version


@timeline
async def test_no_cache_no_purge(world):
    await world.apply(service())
    with pytest.raises(UserError, match=r"mood keeps no answers: its file has no spec\.cache"):
        await world.controller.purge("mood")


@timeline
async def test_another_controller_comes_back_to_no_epoch_and_no_version_of_the_last(world):
    await world.apply(service(more="  cache: {ttl: 10m}\n"))
    before = world.snapshot
    world.wall += 2  # it took two seconds to come back
    world.controller = world.start()
    await world.apply(service(more="  cache: {ttl: 10m}\n"))
    assert world.snapshot.version > before.version
    assert world.snapshot.services[0].cache.epoch > before.services[0].cache.epoch


@timeline
async def test_what_another_falls_back_to_is_not_deleted(world):
    await world.apply(service("small"), service("mood", "  fallback: [{type: Service, service: {name: small}}]\n"))
    with pytest.raises(UserError, match=r"small is what mood \(.*service.yaml:\d+\) falls back to"):
        await world.controller.delete("small")
    await world.controller.delete("mood")
    await world.controller.delete("small")
    with pytest.raises(SpecErrors, match="no service is named small"):
        await world.apply(service("mood", "  fallback: [{type: Service, service: {name: small}}]\n"))


@timeline
async def test_what_people_are_told_holds_no_secret(world):
    world.secrets |= {("limits", "url"): REDIS, ("cache", "url"): REDIS}
    await world.apply(service(more=CACHE), tenant(), PLATFORM)
    del world.secrets["shop-keys", "ci"]
    world.secrets["cache", "url"] = "ftp://:hush@10.0.0.1"
    await world.controller.tick()
    controller = world.controller
    told = [controller.statuses(), controller.tenants(), controller.limits(), controller.timeline.since()]
    text = msgspec.json.encode(told).decode() + repr(told) + repr(world.snapshot) + repr(controller._wishes.services)
    assert "shop" in text
    for secret in (ONE, "hush", "10.0.0.1"):
        assert secret not in text
    assert ONE in json.dumps(msgspec.to_builtins(world.snapshot)), "or else the test would look for nothing"
    assert len(re.findall("gateways go on with what it was", text)) >= 2
