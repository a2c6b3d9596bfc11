"""From a file to what gateways are told: seconds and bytes, secrets filled in from outside."""

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.core.snapshot import (
    AffinityType,
    AffinityView,
    Allow,
    CacheBackend,
    CacheView,
    FallbackType,
    FallbackView,
    JwtView,
    LimitsView,
    ServiceView,
    TenantView,
)
from plimsoll.core.subjects import canonical_subject
from plimsoll.spec import (
    SecretRef,
    limits_view,
    load_all_text,
    load_text,
    parse_key_hashes,
    service_views,
    tenant_view,
)

SERVICE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: fraud, namespace: shop, labels: {tier: online}}
spec:
  model: {path: m.py}
  access: {anonymous: false}
  cache:
    ttl: 10m
    maxSize: 64Mi
    scope: Service
    key: {inputs: [amount, country]}
    backend: {type: Redis, secretRef: {name: redis-url, key: url}}
  fallback:
  - {type: StaleCache, maxAge: 1h}
  - {type: Service, service: {name: fraud-rules}}
  - {type: Static, body: '{"score": 0.5}'}
  sessionAffinity: {type: Header, name: X-User}
  hedging: Slow
"""
TENANT = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: checkout}
spec:
  auth:
    apiKeys:
    - {name: ci, hashSecretRef: {name: checkout-keys, key: ci}}
    - {name: shop, hashSecretRef: {name: checkout-keys, key: shop}}
    jwt: {issuer: i, audience: a, jwksUri: "https://i/k", claims: {team: checkout}}
    certificates: [{subject: "cn=checkout, o=Shop"}, {subject: "DNS:Checkout.Internal"}]
  allow: [{namespaces: [shop], serviceSelector: {matchLabels: {tier: online}}}, {}]
  quota: {requestsPerSecond: 500, concurrentRequests: 200, tokensPerMinute: 0.5}
  weight: 3
  maxPriority: 10
"""
CERTIFIED = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: t}
spec: {auth: {certificates: [{subject: '%s'}]}}
"""
A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_every_key_of_a_service() -> None:
    (service,) = load_text(SERVICE)
    ref = service.cache_secret_ref
    assert ref is not None
    assert (ref.name, ref.key) == ("redis-url", "url")
    assert service.fallback_services == ("fraud-rules",)
    view = ServiceView("fraud", "1", **service_views(service, cache_url="redis://:secret@h", cache_epoch=2))
    assert (view.namespace, view.labels, view.anonymous, view.hedging) == ("shop", {"tier": "online"}, False, True)
    assert view.cache == CacheView(
        ttl_s=600.0,
        max_bytes=64 << 20,
        per_tenant=False,
        inputs=("amount", "country"),
        backend=CacheBackend.REDIS,
        url="redis://:secret@h",
        epoch=2,
        stale_s=3000.0,
    )
    assert "secret" not in repr(view)
    assert view.fallback == (
        FallbackView(FallbackType.STALE_CACHE, max_age_s=3600.0),
        FallbackView(FallbackType.SERVICE, service="fraud-rules"),
        FallbackView(FallbackType.STATIC, body='{"score": 0.5}', content_type="application/json"),
    )
    assert view.affinity == AffinityView(AffinityType.HEADER, "x-user")


def test_a_service_without_any_of_them_is_as_a_view_is_by_default() -> None:
    (service,) = load_text(SERVICE.partition("  access")[0].replace(", namespace: shop, labels: {tier: online}", ""))
    assert service.cache_secret_ref is None
    assert service.fallback_services == ()
    assert ServiceView("fraud", "1", **service_views(service)) == ServiceView("fraud", "1")


def test_a_cookies_name_stays_as_it_is_and_a_cache_without_a_fallback_keeps_nothing_stale() -> None:
    text = SERVICE.replace("type: Header", "type: Cookie").replace("  - {type: StaleCache, maxAge: 1h}\n", "")
    (service,) = load_text(text)
    views = service_views(service)
    assert views["affinity"] == AffinityView(AffinityType.COOKIE, "X-User")
    assert views["cache"] is not None
    assert views["cache"].stale_s == 0.0


def test_every_key_of_a_tenant() -> None:
    (tenant,) = load_all_text(TENANT).tenants
    secrets = {"ci": f"sha256:{A}\n", "shop": f"# until March\nsha256:{B.upper()}\n\n  sha256:{C}  \nsha256:{B}\n"}
    asked: list[str] = []

    def secret(ref: SecretRef) -> str:
        asked.append(f"{ref.name}/{ref.key}")
        return secrets[ref.key]

    view = tenant_view(tenant, secrets=secret)
    assert asked == ["checkout-keys/ci", "checkout-keys/shop"]
    assert view == TenantView(
        name="checkout",
        key_digests={"ci": A, "shop": B, "shop/2": C},
        jwt=JwtView("i", "a", "https://i/k", {"team": "checkout"}),
        subjects=("CN=checkout,O=Shop", "DNS:checkout.internal"),
        allow=(Allow(("shop",), {"tier": "online"}), Allow()),
        requests_per_s=500.0,
        concurrent_requests=200,
        tokens_per_minute=0.5,
        weight=3.0,
        max_priority=10,
    )
    assert A not in repr(view)


def test_a_tenant_of_certificates_alone_needs_no_secret() -> None:
    (tenant,) = load_all_text(CERTIFIED % "CN=t").tenants
    assert tenant_view(tenant, secrets=_none) == TenantView("t", subjects=("CN=t",))


def _none(ref: SecretRef) -> str:
    raise LookupError(f"there is no {ref.name}/{ref.key}")


def test_a_secret_that_is_missing_or_holds_no_hash() -> None:
    (tenant,) = load_all_text(TENANT, file="t.yaml").tenants
    with pytest.raises(LookupError, match="there is no checkout-keys/ci"):
        tenant_view(tenant, secrets=_none)
    with pytest.raises(SpecErrors) as caught:
        tenant_view(tenant, secrets=lambda ref: f"sha256:{A}" if ref.key == "ci" else "plm_the-key-itself")
    assert str(caught.value) == (
        "t.yaml:8  spec.auth.apiKeys[1].hashSecretRef: secret checkout-keys, key shop: "
        "line 1 is no hash; expected sha256: and 64 hex digits (never the key itself)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no hash"),
        ("# nothing\n", "holds no hash"),
        (A, "line 1 is no hash"),
        (f"sha256:{A}\nsha256:{A[:-1]}", "line 2 is no hash"),
        (f"sha256:{A}0", "line 1 is no hash"),
        (f"SHA256:{A}", "line 1 is no hash"),
        (f"sha256:{A[:-1]}g", "line 1 is no hash"),
        (f"sha256:{A} sha256:{B}", "line 1 is no hash"),
    ],
)
def test_what_is_no_file_of_hashes(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        parse_key_hashes(text)
    assert A[:-1] not in str(caught.value)


def test_where_rates_are_counted() -> None:
    text = "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec: "
    backend = "{gateway: {rateLimits: {backend: {type: Redis, secretRef: {name: r, key: url}}}}}"
    shared = load_all_text(text + backend).platform
    assert limits_view(shared, gateways=3, secrets=lambda ref: f"redis://{ref.name}\n") == LimitsView(3, "redis://r")
    assert limits_view(load_all_text(text + "{}").platform, gateways=2, secrets=_none) == LimitsView(2)
    assert limits_view(None, gateways=1, secrets=_none) == LimitsView()


@pytest.mark.parametrize(
    ("written", "one_form"),
    [
        ("CN=a", "CN=a"),
        ("cn=a , o=Shop+ou=b", "CN=a,O=Shop+OU=b"),
        (r"CN=Shop\, Ltd,O=a\+b", r"CN=Shop\, Ltd,O=a\+b"),
        (r"CN=ends with a backslash\\,O=x", r"CN=ends with a backslash\\,O=x"),
        ("CN=blank\\ ,O=x", "CN=blank\\ ,O=x"),
        ("1.2.840.113549.1.9.1=a@b.c", "1.2.840.113549.1.9.1=a@b.c"),
        ("CN=Ünïcode", "CN=Ünïcode"),
        ("DNS:A.Example", "DNS:a.example"),
        ("URI:spiffe://Shop/ns/A", "URI:spiffe://Shop/ns/A"),
    ],
)
def test_one_form_for_a_subject(written: str, one_form: str) -> None:
    assert canonical_subject(written) == one_form
    assert canonical_subject(one_form) == one_form
    (tenant,) = load_all_text(CERTIFIED % written).tenants
    assert tenant_view(tenant, secrets=_none).subjects == (one_form,)
