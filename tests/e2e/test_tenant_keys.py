"""Keys of `kind: Tenant` and `kind: Platform`, and a service's `access`, seen from outside: who may ask, and how much.

The door speaks TLS, so that a certificate can say who asks; a local server publishes an issuer's keys.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.conftest import Client
from tests.support.cache_servers import RedisServer
from tests.support.certificates import Authority, client_context

from plimsoll.app.tenant_key import make_key

MODEL = """
import itertools
import time


class Model:
    calls = itertools.count(1)

    def predict(self, batch):
        for item in batch:
            time.sleep(item.get("sleep", 0))
        return [{"call": next(self.calls), "usage": {"total_tokens": item.get("tokens", 0)}} for item in batch]
"""

ONLINE = "labels: {tier: online}"
SERVICES = {
    # name: (more of its metadata, its spec)
    "usual": (f"namespace: shop, {ONLINE}", []),
    "nightly": ("namespace: shop, labels: {tier: nightly}", []),
    "far": (f"namespace: far, {ONLINE}", []),
    "open": (ONLINE, ["access: {anonymous: true}"]),
    "apart": (ONLINE, ["cache: {ttl: 10m, scope: Tenant}"]),
    "common": (ONLINE, ["cache: {ttl: 10m, scope: Service}"]),
    "single": (ONLINE, ["batching: {maxSize: 1}"]),
}
JWT = "{issuer: https://id.example.com, audience: plimsoll, jwksUri: JWKS_URI, claims: {team: checkout}}"
TENANTS = {
    "keyed": [],
    "signed": [f"auth: {{jwt: {JWT}}}"],
    "shown": ['auth: {certificates: [{subject: "CN=shown,O=Ops"}]}'],
    "named": ['auth: {certificates: [{subject: "URI:spiffe://ops/named"}]}'],
    "picky": ["allow: [{namespaces: [shop], serviceSelector: {matchLabels: {tier: online}}}]"],
    "steady": ["quota: {requestsPerSecond: 5}"],
    "rated": ["quota: {requestsPerSecond: 40}"],
    "few": ["quota: {concurrentRequests: 2}"],
    "wordy": ["quota: {tokensPerMinute: 100}"],
    "heavy": ["weight: 3", "maxPriority: 10"],
    "light": ["weight: 1", "maxPriority: 2"],
}
PLATFORM = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Platform
metadata: {name: default, labels: {of: ours}, annotations: {owner: us}}
spec:
  gateway:
    rateLimits:
      backend: {type: Redis, secretRef: {name: rates, key: url, namespace: platform}}
"""


def service_document(name):
    meta, spec = SERVICES[name]
    head = f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {name}, {meta}}}\n"
    return head + "\n  ".join(["spec:", "model: {path: ./model.py}", f"routes: [{{path: /{name}}}]", *spec]) + "\n"


def tenant_document(name, jwks_uri="https://id.example.com/keys"):
    spec = [line.replace("JWKS_URI", jwks_uri) for line in TENANTS[name]]
    if not any(line.startswith("auth:") for line in spec):
        ref = f"{{name: {name}-keys, key: main, namespace: platform}}"
        spec.insert(0, f"auth: {{apiKeys: [{{name: main, hashSecretRef: {ref}}}]}}")
    meta = f"metadata: {{name: {name}, labels: {{of: ours}}, annotations: {{owner: us}}}}\n"
    return f"apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\n{meta}" + "\n  ".join(["spec:", *spec]) + "\n"


DOCUMENTS = [*map(service_document, SERVICES), *map(tenant_document, TENANTS), PLATFORM]


def write(folder, *documents):
    """The files, and a key for each tenant that is known by one. Returns {tenant: headers to send}."""
    (folder / "model.py").write_text(MODEL)
    (folder / "service.yaml").write_text("---\n".join(documents))
    text = "".join(documents)
    return {
        name: {"authorization": f"Bearer {make_key(name, 'main', folder / 'secrets').key}"}
        for name in TENANTS
        if f"{name}-keys" in text
    }


class Door:
    """Asks over TLS: as a tenant with a key or a token, with a certificate, or as nobody."""

    def __init__(self, port, ca, headers, pairs):
        self.port, self.headers = port, headers
        self.contexts = {name: client_context(ca, pair) for name, pair in pairs.items()}
        self.nobody = client_context(ca)

    def client(self, who=None):
        return Client(self.port, context=self.contexts.get(who, self.nobody))

    def ask(self, who, path, item=None, **headers):
        client = self.client(who)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.post(path, item or {}, self.headers.get(who, {}) | named)
        finally:
            client.close()

    def told(self, who, path, item=None):
        """(status, outcome)"""
        status, headers, _ = self.ask(who, path, item)
        return status, headers["plimsoll-outcome"]


OK, CACHED = (200, "ok"), (200, "cached")
UNKNOWN, FORBIDDEN, THROTTLED = (401, "unauthorized"), (403, "unauthorized"), (429, "throttled")


@pytest.fixture
def issuer():
    pytest.importorskip("jwt", reason="no jwt here: pip install 'plimsoll-serve[jwt]'")
    from tests.unit.gateway.tenants.issuer import KeyServer

    server = KeyServer()
    yield server
    server.close()


def test_keys_of_tenants(up, tmp_path, issuer):
    from tests.unit.gateway.tenants.issuer import ec_key, jwk, token

    private = ec_key()
    issuer.publish(jwk(private))
    said = {"exp": time.time() + 300}
    bearer = {
        name: {"authorization": f"Bearer {token(key, 'ES256', **said | claims).decode()}"}
        for name, key, claims in [
            ("signed", private, {}),
            ("forged", ec_key(), {}),
            ("for another", private, {"aud": "another"}),
            ("of another", private, {"iss": "https://another.example.com"}),
            ("in another team", private, {"team": "search"}),
        ]
    }
    ca = Authority(tmp_path, "ca")
    cert, key = ca.server("server")
    pairs = {
        "shown": ca.client("shown", "/O=Ops/CN=shown"),
        "named": ca.client("named", "/CN=any", "URI:spiffe://ops/named"),
        "a stranger": ca.client("stranger", "/O=Ops/CN=stranger"),
    }
    documents = [*map(service_document, SERVICES), *(tenant_document(name, issuer.uri) for name in TENANTS)]
    keys = write(tmp_path, *documents)
    tls = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca.cert, "--tls-client-cert", "optional"]
    running = up(*tls, cwd=tmp_path).ready()
    door = Door(running.port, ca.cert, keys | bearer, pairs)
    how_they_are_known(door)
    what_they_may_call(door)
    whose_answers(door)
    how_much(door)
    whose_turn(door)
    everything = running.output + running.cli("tenants").stdout + running.cli("status", "--json").stdout
    assert not [name for name, sent in door.headers.items() if sent["authorization"].split()[1] in everything]


def how_they_are_known(door):
    # auth.apiKeys, auth.jwt, auth.certificates: subject, or an alternative name
    for who in ("keyed", "signed", "shown", "named"):
        assert door.told(who, "/usual") == OK, who
    # access.anonymous: nobody in particular
    assert door.told(None, "/usual") == UNKNOWN
    assert door.told(None, "/open") == OK
    for who in ("forged", "for another", "of another", "in another team", "a stranger"):
        assert door.told(who, "/usual") == UNKNOWN, who
    assert door.told("forged", "/open") == UNKNOWN  # who says a name has to be it


def what_they_may_call(door):
    # allow: by the services' namespace and labels, both
    assert door.told("picky", "/usual") == OK
    assert door.told("picky", "/nightly") == FORBIDDEN
    assert door.told("picky", "/far") == FORBIDDEN
    assert door.told("keyed", "/far") == OK


def whose_answers(door):
    # cache.scope: an answer for one tenant, or for all
    for path, second in [("/apart", OK), ("/common", CACHED)]:
        assert door.told("keyed", path, {"text": "hi"}) == OK
        assert door.told("keyed", path, {"text": "hi"}) == CACHED
        assert door.told("signed", path, {"text": "hi"}) == second


def how_much(door):
    # quota.requestsPerSecond: as many at once, then as many a second
    answers = [door.ask("steady", "/usual") for _ in range(12)]
    assert [status for status, _, _ in answers[:5]] == [200] * 5
    refused = [one for one in answers if one[0] == 429]
    assert refused
    assert refused[0][1]["retry-after"] == "1"
    assert "5 requests a second" in refused[0][2]["error"]
    assert door.told("keyed", "/usual") == OK  # another's quota is another's
    time.sleep(1.0)
    assert door.told("steady", "/usual") == OK

    # quota.concurrentRequests
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: door.told("few", "/usual", {"sleep": 1.5}), range(4)))
    assert sorted(told) == [OK, OK, THROTTLED, THROTTLED]
    assert door.told("few", "/usual") == OK

    # quota.tokensPerMinute: a long answer is paid for afterwards
    assert door.told("wordy", "/usual", {"tokens": 150}) == OK
    status, headers, answer = door.ask("wordy", "/usual")
    assert (status, headers["plimsoll-outcome"]) == THROTTLED
    assert 20 <= int(headers["retry-after"]) <= 40  # 50 too many at 100 a minute
    assert "tokens" in answer["error"]


def whose_turn(door):
    # weight: under a flood of both, three for one
    counts = {"heavy": 0, "light": 0}
    over = threading.Event()

    def flood(who):
        client = door.client()
        while not over.is_set():
            assert client.post("/single", {"sleep": 0.015}, door.headers[who])[0] == 200
            counts[who] += 1
        client.close()

    with ThreadPoolExecutor(24) as pool:
        floods = [pool.submit(flood, who) for who in ["heavy", "light"] * 12]
        time.sleep(1)  # who comes first may take a little more
        before = dict(counts)
        time.sleep(3)
        took = {who: counts[who] - before[who] for who in counts}
        over.set()
        for one in floods:
            one.result()
    print("answered:", took)
    assert 2.0 < took["heavy"] / took["light"] < 4.0, took

    # maxPriority: who may goes before its own that wait; who may not waits its turn
    assert overtaken("heavy", door) > 15
    assert overtaken("light", door) < 5


def overtaken(who, door):
    """How many of 30 that wait, with priority 2, are still not answered when one of priority 9 is."""
    done, some = [], threading.Event()

    def wait_in_line(_):
        assert door.ask(who, "/single", {"sleep": 0.05}, plimsoll_priority="2")[0] == 200
        done.append(time.monotonic())
        some.set()

    with ThreadPoolExecutor(30) as pool:
        line = [pool.submit(wait_in_line, n) for n in range(30)]
        some.wait(30)
        time.sleep(0.3)  # the others have come, too
        assert door.ask(who, "/single", plimsoll_priority="9")[0] == 200
        waiting = 30 - len(done)
        for one in line:
            one.result()
    return waiting


def test_keys_of_the_platform(up, tmp_path, until):
    """rateLimits.backend: a tenant that has all its connections at one of two gateways has its whole quota there."""
    with RedisServer() as redis:
        headers = write(tmp_path, service_document("usual"), tenant_document("rated"), PLATFORM)["rated"]
        (tmp_path / "secrets/rates").mkdir()
        (tmp_path / "secrets/rates/url").write_text(redis.url + "\n")
        running = up("--gateways", 2, cwd=tmp_path).ready()
        assert running.line(r"platform/default +not honoured here: .*secretRef.namespace")
        assert running.line(r"tenant/rated +not honoured here: .*hashSecretRef.namespace")
        limits = json.loads(running.cli("tenants", "--json").stdout)["limits"]
        assert (limits["gateways"], limits["shared"]) == (2, True)

        def let_in():
            """Of 40 a second, over one connection: how many in two seconds or a little more, and in how many."""
            client, began, count = running.client(), time.monotonic(), 0
            while time.monotonic() < began + 2:
                count += client.post("/usual", {}, headers)[0] == 200
            client.close()
            return count, time.monotonic() - began

        whole = let_in()
        redis.kill()
        until(lambda: "Redis can't be used" in running.cli("tenants").stdout)
        time.sleep(2)  # both have a whole burst again
        half = let_in()
        print("let in:", whole, "then", half)
        assert 90 < whole[0] <= 40 * whole[1] + 42, "a burst of 40, and 40 a second"
        assert 50 < half[0] <= 20 * half[1] + 22, "half of both"
        assert redis.url not in running.output + running.cli("status", "--json").stdout
