"""`kind: Tenant` and `kind: Platform`: what they hold, what is wrong with them, and where that stands."""

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.spec import Platform, Tenant, load_all_text, load_text, not_honoured

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\nspec:\n"
KEYS = "auth: {apiKeys: [{name: ci, hashSecretRef: {name: shop-keys, key: ci}}]}"
PLATFORM = "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec:\n"
FULL = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: checkout, labels: {tier: gold}, annotations: {owner: us}}
spec:
  auth:
    apiKeys: [{name: ci, hashSecretRef: {namespace: plimsoll-system, name: checkout-keys, key: ci}}]
    jwt: {issuer: "https://id.example.com", audience: us, jwksUri: "https://id.example.com/keys", claims: {team: c}}
    certificates: [{subject: "CN=checkout,O=Shop"}, {subject: "DNS:checkout.internal"}]
  allow: [{namespaces: [shop], serviceSelector: {matchLabels: {tier: online}}}]
  quota: {requestsPerSecond: 500, concurrentRequests: 200, tokensPerMinute: 200000.5}
  weight: 3
  maxPriority: 10
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(text, file="t.yaml")
    return [str(error) for error in caught.value.errors]


def tenant(spec: str) -> Tenant:
    (one,) = load_all_text(f"{HEAD}  {spec}\n", file="t.yaml").tenants
    return one


def test_the_least_tenant_may_call_everything_as_often_as_it_likes() -> None:
    spec = tenant(KEYS).spec
    assert spec.allow is None
    assert (spec.quota.requests_per_second, spec.quota.concurrent_requests, spec.quota.tokens_per_minute) == (None,) * 3
    assert (spec.weight, spec.max_priority) == (1, 0)


def test_every_key_survives_as_written() -> None:
    documents = load_all_text(FULL, file="t.yaml")
    (one,) = documents.tenants
    assert (one.name, one.labels, documents.services, documents.platform) == ("checkout", {"tier": "gold"}, (), None)
    dumped = one.dump()
    assert Tenant.parse(dumped) == one
    assert Tenant.parse(dumped).dump() == dumped
    # 500 stays 500, and 3 stays 3: nobody wrote 500.0
    assert [repr(value) for value in dumped["spec"]["quota"].values()] == ["500", "200", "200000.5"]
    assert repr(dumped["spec"]["weight"]) == "3"


def test_a_file_of_tenants_alone_holds_no_service_and_is_fine() -> None:
    assert load_text(FULL) == []


def test_a_namespaced_secret_is_told_on_a_laptop() -> None:
    (one,) = load_all_text(FULL).tenants
    line = "hashSecretRef.namespace: a laptop has no namespaces; the file secrets/checkout-keys/ci is read"
    assert not_honoured(one) == [f"spec.auth.apiKeys[0].{line}"]
    assert not_honoured(tenant(KEYS)) == []
    assert not_honoured(one, "kubernetes") == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("weight: 2", "t.yaml:4  spec.auth: missing; expected a mapping with apiKeys, jwt or certificates"),
        ("auth: {}", "t.yaml:5  spec.auth: nothing tells this tenant from others; expected apiKeys, jwt or certif"),
        ("auth: {apiKeys: []}", "spec.auth: nothing tells this tenant from others"),
        ("auth:", "t.yaml:5  spec.auth: has no value; expected apiKeys, jwt or certificates"),
        (
            "auth: {apiKeys: [{name: ci, hashSecretRef: &ref {name: a, key: b}}, {name: ci, hashSecretRef: *ref}]}",
            "t.yaml:5  spec.auth.apiKeys[1].name: ci is the name of apiKeys[0] too; expected another",
        ),
        (
            "auth: {apiKeys: [{name: ci, hashSecretRef: {name: ../a, key: b}}]}",
            "spec.auth.apiKeys[0].hashSecretRef.name: '../a' is no name of a secret",
        ),
        (
            "auth: {certificates: [{subject: shop}]}",
            "spec.auth.certificates[0].subject: 'shop' is no subject; expected",
        ),
        ("auth: {certificates: [{subject: 'CN=a,'}]}", "is no subject; expected a name such as CN=checkout,O=Shop, or"),
        ("auth: {certificates: [{subject: 'DNS:'}]}", "is no subject"),
        ("auth: {certificates: [{subject: 'EMAIL:a@b.c'}]}", "is no subject"),
        (
            "auth: {certificates: [{subject: 'CN=a,O=b'}, {subject: 'cn=a, o=b'}]}",
            "spec.auth.certificates[1].subject: 'CN=a,O=b' stands there twice; remove one",
        ),
        (f"{KEYS}\n  weight: 0", "t.yaml:6  spec.weight: 0 is out of range; expected a number from 0.01 to 1,000"),
        (f"{KEYS}\n  weight: -1", "spec.weight: -1 is out of range"),
        (f"{KEYS}\n  weight: '3'", "spec.weight: expected a number from 0.01 to 1,000, not '3'"),
        (f"{KEYS}\n  weight: true", "spec.weight: expected a number from 0.01 to 1,000, not true"),
        (f"{KEYS}\n  weight: 1001", "spec.weight: 1001 is out of range"),
        (f"{KEYS}\n  maxPriority: -1", "spec.maxPriority: -1 is too small; expected 0 or more"),
        (f"{KEYS}\n  maxPriority: 9999999", "spec.maxPriority: 9999999 is too large; expected 1000000 or less"),
        (f"{KEYS}\n  maxPriority: 1.5", "spec.maxPriority: expected a whole number, not the number 1.5"),
        (f"{KEYS}\n  quota: {{requestsPerSecond: 0}}", "spec.quota.requestsPerSecond: 0 is out of range; expected a n"),
        (f"{KEYS}\n  quota: {{concurrentRequests: 0}}", "spec.quota.concurrentRequests: 0 is too small; expected 1 or"),
        (f"{KEYS}\n  quota: {{tokensPerMinute: lots}}", "spec.quota.tokensPerMinute: expected a number from 0.001 to"),
        (f"{KEYS}\n  quota: {{accelerators: {{h100: 4}}}}", "spec.quota.accelerators: not supported by this version"),
        (f"{KEYS}\n  quota: {{requestPerSecond: 5}}", "unknown key; did you mean requestsPerSecond?"),
        (f"{KEYS}\n  requestsPerSecond: 5", "unknown key here; did you mean spec.quota.requestsPerSecond?"),
        (f"{KEYS}\n  allow: []", "spec.allow: expected at least 1 entry; add one, or remove the key for its default"),
        (f"{KEYS}\n  allow: [{{namespaces: [My_Shop]}}]", "spec.allow[0].namespaces[0]: 'My_Shop' is no name; expect"),
        (
            f"{KEYS}\n  allow: [{{serviceSelector: {{tier: a}}}}]",
            "serviceSelector.tier: unknown key; expected matchLab",
        ),
        (
            f"{KEYS}\n  allow: [{{serviceSelector: {{matchLabels: {{tier: }}}}}}]",
            "spec.allow[0].serviceSelector.matchLabels.tier: expected text, not null; put it in quotes or remove it",
        ),
        (f"{KEYS}\n  wieght: 3", "spec.wieght: unknown key; did you mean weight?"),
        (f"{KEYS}\n  model: {{path: m.py}}", "spec.model: unknown key; expected auth, allow, quota, weight or maxPr"),
    ],
)
def test_one_wrong_key_of_a_tenant(spec: str, expected: str) -> None:
    (problem,) = problems(f"{HEAD}  {spec}\n")
    assert expected in problem


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("key: plm_abc", "apiKeys[0].key: a key never stands in a file; put its hash into a secret and write hashSec"),
        ("hash: 'sha256:00'", "apiKeys[0].hash: a hash stands in a secret, apart from this file; write hashSecretRef:"),
    ],
)
def test_a_key_or_its_hash_in_the_file_is_refused_without_repeating_it(given: str, expected: str) -> None:
    found = problems(f"{HEAD}  auth: {{apiKeys: [{{name: ci, {given}}}]}}\n")
    assert any(expected in line for line in found)
    assert "plm_abc" not in "".join(found)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://id.example.com/keys", None),
        ("https://id.example.com:8443/keys?v=1", None),
        ("http://127.0.0.1:8099/keys", None),
        ("http://127.8.9.1/keys", None),
        ("http://localhost/keys", None),
        ("http://[::1]:80/keys", None),
        ("http://id.example.com/keys", "http lets anybody on the way change the keys; expected https"),
        ("http://127.0.0.1.example.com/keys", "http lets anybody on the way"),
        ("http://localhost.example.com/", "http lets anybody on the way"),
        ("http://127.0.0.1@example.com/", "is no URL; expected one such as https://id.example.com/keys"),
        ("ftp://id.example.com/keys", "is no URL"),
        ("file:///etc/keys", "is no URL"),
        ("id.example.com/keys", "is no URL"),
        ("https:///keys", "is no URL"),
        ("https://id.example.com/a b", "is no URL"),
        ("https://id.example.com/keys#x", "is no URL"),
        ("https://id.example.com/\\n", "is no URL"),
    ],
)
def test_keys_of_tokens_come_over_https_or_from_this_machine(uri: str, expected: str | None) -> None:
    text = f'{HEAD}  auth: {{jwt: {{issuer: i, audience: a, jwksUri: "{uri}"}}}}\n'
    if expected is None:
        assert load_all_text(text).tenants[0].spec.auth.jwt is not None
    else:
        (problem,) = problems(text)
        assert problem.startswith("t.yaml:5  spec.auth.jwt.jwksUri: ")
        assert expected in problem


def test_claims_are_text() -> None:
    jwt = "auth: {jwt: {issuer: '', audience: a, jwksUri: 'https://i/k', claims: {team: 5, admin: true, none: }}}"
    assert [line.removeprefix("t.yaml:5  spec.auth.jwt.") for line in problems(f"{HEAD}  {jwt}\n")] == [
        "claims.none: expected text, not null; put it in quotes or remove it",
        "issuer: has no text; expected some",
        "claims.team: expected text, not the number 5; put it in quotes",
        "claims.admin: expected text, not true; put it in quotes",
    ]


def test_a_tenant_has_no_namespace() -> None:
    text = f"{HEAD}  {KEYS}\n".replace("name: shop}", "name: shop, namespace: eu}", 1)
    assert problems(text) == ["t.yaml:3  metadata.namespace: belongs to the platform, to no namespace; remove it"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("tenant", "'tenant' is no kind of plimsoll.dev/v1alpha1; did you mean Tenant?"),
        ("Tenants", "'Tenants' is no kind of plimsoll.dev/v1alpha1; did you mean Tenant?"),
        (
            "QueueBinding",
            "QueueBinding is not supported by this version yet; expected ModelService, Tenant or Platform",
        ),
        ("Pod", "'Pod' is no kind of plimsoll.dev/v1alpha1; expected ModelService, Tenant or Platform"),
    ],
)
def test_another_kind(kind: str, expected: str) -> None:
    assert problems(FULL.replace("kind: Tenant", f"kind: {kind}")) == [f"t.yaml:2  kind: {expected}"]


def test_a_platform_says_where_rate_limits_are_counted() -> None:
    backend = "gateway: {rateLimits: {backend: {type: Redis, secretRef: {name: redis-url, key: url, namespace: x}}}}"
    platform = load_all_text(f"{PLATFORM}  {backend}\n").platform
    assert isinstance(platform, Platform)
    ref = platform.rate_limits_secret_ref
    assert ref is not None
    assert (ref.name, ref.key) == ("redis-url", "url")
    assert not_honoured(platform) == [
        "spec.gateway.rateLimits.backend.secretRef.namespace: a laptop has no namespaces; "
        "the file secrets/redis-url/url is read"
    ]
    bare = load_all_text(f"{PLATFORM}  {{}}\n").platform
    assert bare is not None
    assert bare.rate_limits_secret_ref is None
    assert (bare.name, bare.labels, not_honoured(bare)) == ("default", {}, [])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("retention: {audit: 4380h}", "spec.retention: not supported by this version yet"),
        ("gateway: {rateLimit: {}}", "spec.gateway.rateLimit: unknown key; did you mean rateLimits?"),
        (
            "gateway: {rateLimits: {backend: {type: Memcached, secretRef: {name: a, key: b}}}}",
            "spec.gateway.rateLimits.backend.type: 'Memcached' is not Redis",
        ),
        (
            "gateway: {rateLimits: {backend: {type: Redis}}}",
            "spec.gateway.rateLimits.backend.secretRef: missing; expected a mapping with name, key or namespace",
        ),
    ],
)
def test_one_wrong_key_of_a_platform(spec: str, expected: str) -> None:
    assert problems(f"{PLATFORM}  {spec}\n") == [f"t.yaml:5  {expected}"]
