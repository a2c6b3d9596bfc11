"""What users want, as the controller keeps it; secrets, tokens and CPU use as it asks for them."""

import asyncio
import base64
import json

import httpx2
import pytest

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.cpu import CpuUse, parse_cores
from plimsoll.backends.kubernetes.secrets import ClusterSecrets
from plimsoll.backends.kubernetes.tokens import GatewayTokens
from plimsoll.backends.kubernetes.wanted import Shared, platform_of, read_platform, read_service
from plimsoll.spec import ModelService
from plimsoll.spec.base import Part


def service(generation=1, *, labels=None, status=None, annotations=None, **spec):
    meta = {"name": "mood", "namespace": "shop", "generation": generation, "resourceVersion": "7", "uid": "u"}
    return {
        "metadata": meta | {"labels": labels or {}, "annotations": annotations or {}},
        "spec": {"model": {"path": "./model.py"}} | spec,
        "status": status or {},
    }


def test_a_service_is_parsed_with_its_place_and_its_scale_target():
    found = read_service(service(labels={"team": "a"}, status={"scaleTarget": "mood-1", "replicas": 3}))
    assert (found.whole.name, found.whole.metadata.namespace, dict(found.whole.labels)) == (
        "mood",
        "shop",
        {"team": "a"},
    )
    assert (found.target, found.paused, found.problem) == ("mood-1", False, "")
    assert str(found.whole.directory) == "shop", "where its secrets lie"


def test_a_status_that_changes_is_nothing_new_but_for_the_target():
    first = read_service(service(status={"scaleTarget": "mood-1", "readyReplicas": 1}))
    assert first == read_service(service(status={"scaleTarget": "mood-1", "readyReplicas": 2}))
    assert first != read_service(service(status={"scaleTarget": "mood-2"}))
    assert first != read_service(service(2, status={"scaleTarget": "mood-1"}))
    assert first != read_service(service(labels={"team": "b"}, status={"scaleTarget": "mood-1"}))


def test_one_that_is_paused_going_or_wrong():
    assert read_service(service(annotations={"plimsoll.dev/paused": "true"})).paused
    going = service()
    going["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert (read_service(going).deleting, read_service(going).whole) == (True, None)
    wrong = read_service(service(timeout="soon"))
    assert wrong.whole is None
    assert "timeout" in wrong.problem


def test_of_several_platforms_the_default_one_holds():
    def platform(name):
        return read_platform({"metadata": {"name": name, "generation": 1}, "spec": {"currency": name[:3].upper()}})

    assert platform_of({}) is None
    assert platform_of({"zeta": platform("zeta"), "eta": platform("eta")}).spec.currency == "ETA"
    both = {"aaa": platform("aaa"), "default": platform("default")}
    assert platform_of(both).spec.currency == "DEF"


def api(handler):
    return Api(httpx2.AsyncClient(transport=httpx2.MockTransport(handler), base_url="http://api"))


# --- secrets ----------------------------------------------------------------------------------------------------------


class Silent(httpx2.AsyncByteStream):
    async def __aiter__(self):
        await asyncio.Event().wait()
        yield b""


def secrets_server(data, asked, code=200):
    def handler(request):
        asked.append((request.url.path, request.url.params.get("fieldSelector")))
        if code != 200:
            return httpx2.Response(code, json={"code": code, "reason": "Forbidden", "message": "no"})
        if "watch" in request.url.params:
            return httpx2.Response(200, stream=Silent())
        meta = {"name": "redis", "namespace": "shop", "resourceVersion": "1"}
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        items = [{"metadata": meta, "data": encoded}] if data else []
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": items})

    return api(handler)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ({"url": b" redis://x\n", "raw": b"\xff\xfe"}, 200, "redis://x"),
        ({"other": b"1"}, 200, "secret shop/redis has no key url; it has other"),
        ({}, 200, "secret shop/redis does not exist"),
        ({}, 403, "plimsoll-secret-reader"),
    ],
)
def test_a_secret_is_watched_by_its_name_alone(data, code, said):
    async def main():
        asked = []
        secrets = ClusterSecrets(secrets_server(data, asked, code), lambda: None)
        with pytest.raises(LookupError, match="is not known yet"):
            secrets.read("shop", "redis", "url")
        await secrets.settled(0.2)
        try:
            found = secrets.read("shop", "redis", "url")
        except LookupError as error:
            found = str(error)
        assert said in found
        assert set(asked) == {("/api/v1/namespaces/shop/secrets", "metadata.name=redis")}
        await secrets.close()

    asyncio.run(main())


# --- tokens -----------------------------------------------------------------------------------------------------------

GATEWAY = "system:serviceaccount:plimsoll-system:plimsoll-gateway"


@pytest.mark.parametrize(
    ("status", "good"),
    [
        ({"authenticated": True, "user": {"username": GATEWAY}, "audiences": ["plimsoll-controller"]}, True),
        ({"authenticated": False}, False),
        ({"authenticated": True, "user": {"username": GATEWAY}}, False),
        ({"authenticated": True, "user": {"username": GATEWAY}, "audiences": ["https://kubernetes"]}, False),
        ({"authenticated": True, "user": {"username": "admin"}, "audiences": ["plimsoll-controller"]}, False),
        ({}, False),
    ],
)
def test_a_token_is_a_gateways_or_it_is_not(status, good):
    reviews = []

    def handler(request):
        reviews.append(json.loads(request.content)["spec"])
        return httpx2.Response(201, json={"status": status})

    assert asyncio.run(GatewayTokens(api(handler), "plimsoll-system").check("abc")) is good
    assert reviews == [{"token": "abc", "audiences": ["plimsoll-controller"]}]


# --- CPU --------------------------------------------------------------------------------------------------------------


def test_cpu_use_is_asked_only_where_a_service_wants_it():
    async def main():
        asked, told = [], []

        def handler(request):
            asked.append(request.url.path)
            if "lab" in request.url.path:
                return httpx2.Response(404, json={"code": 404, "reason": "NotFound", "message": "no metrics server"})
            usage = [{"usage": {"cpu": "250m"}}, {"usage": {"cpu": "5000000n"}}]
            return httpx2.Response(200, json={"items": [{"metadata": {"name": "mood-1-x"}, "containers": usage}]})

        wanted = set()
        use = CpuUse(api(handler), lambda: wanted, told.append)
        await use.look()
        assert (asked, told) == ([], [])
        wanted |= {"shop", "lab"}
        await use.look()
        assert told == [{("shop", "mood-1-x"): pytest.approx(0.255)}]
        assert "CPU use in lab is not known: no metrics server" in use.problem

    asyncio.run(main())


@pytest.mark.parametrize(("text", "cores"), [("2", 2.0), ("250m", 0.25), ("1500u", 0.0015), ("7n", 7e-9), ("?", 0.0)])
def test_amounts_of_cpu(text, cores):
    assert parse_cores(text) == pytest.approx(cores)


# --- what many have in common -----------------------------------------------------------------------------------------

TIGHT, LOOSE = {"latency": {"p99": "50ms"}}, {"latency": {"p99": "80ms"}}


def parts_of(part):
    for value in part.__dict__.values():
        if isinstance(value, Part):
            yield value
            yield from parts_of(value)


def test_what_services_have_in_common_is_kept_once():
    first, second = (read_service(service(budget=TIGHT)).whole for _ in range(2))
    known = {id(part) for part in parts_of(second)}
    alone = [type(part).__name__ for part in parts_of(first) if id(part) not in known]
    assert alone == ["Metadata", "ServiceSpec"]
    assert first.spec.budget is second.spec.budget
    assert first.model_fields_set is second.model_fields_set


def test_what_is_shared_is_still_what_each_wrote():
    for obj in [service(), service(budget=TIGHT), service(budget=LOOSE)] * 2:
        whole = read_service(obj).whole
        assert whole.dump()["spec"] == obj["spec"]
        alone = ModelService.parse(whole.dump())
        assert alone == whole
        assert alone.model_dump() == whole.model_dump()
        assert whole.p99_s == alone.p99_s


def test_parts_are_forgotten_but_not_taken_away():
    shared, wholes = Shared(most=2), []
    for index in range(9):
        written = read_service(service(budget={"latency": {"p99": f"{index % 3 + 1}0ms"}})).whole.dump()
        whole = ModelService.parse(written)
        before = whole.model_dump()
        shared.share(whole)
        assert whole.model_dump() == before
        wholes.append(whole)
    assert len(shared) == 2
    assert [whole.p99_s for whole in wholes] == [0.01, 0.02, 0.03] * 3
