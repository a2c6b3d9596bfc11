"""Who is asking: keys, tokens, certificates; what they may call; what a new snapshot changes."""

import asyncio
import json
import logging
from hashlib import sha256

import pytest

pytest.importorskip("jwt", reason="pyjwt is not installed: pip install 'plimsoll-serve[jwt]'")

from tests.unit.gateway.tenants.issuer import NOW, jwk, jwks, rsa_key, token

from plimsoll.core.api_keys import new_key
from plimsoll.core.errors import RequestError, Unauthorized
from plimsoll.core.snapshot import Allow, JwtView, LimitsView, ServiceView, Snapshot, TenantView
from plimsoll.gateway.tenants import Directory, KeysPending, Tenant
from plimsoll.gateway.tenants.tenant import reaches
from plimsoll.policy.admission import TenantQuota
from plimsoll.telemetry.logs import JsonFormatter

KEY, DIGEST = new_key(b"k" * 32)
NEXT, NEXT_DIGEST = new_key(b"n" * 32)
SHOP = TenantView("shop", {"ci": DIGEST}, weight=3, max_priority=10)
SERVICES = (
    ServiceView("sentiment", "sentiment-1", namespace="shop", labels={"tier": "online"}),
    ServiceView("fraud", "fraud-1", namespace="bank", labels={"tier": "online"}, anonymous=False),
    ServiceView("open", "open-1", namespace="bank", anonymous=True),
)
RSA = rsa_key()


async def published(uri):
    return jwks(jwk(RSA))


def with_directory(*tenants, body, fetch=published, limits=None):
    async def main():
        directory = Directory(fetch)
        try:
            directory.take(Snapshot(1, SERVICES, tenants, limits or LimitsView()))
            result = body(directory)
            if asyncio.iscoroutine(result):
                await result
        finally:
            directory.close()

    asyncio.run(main())


def bearer(value):
    return [(b"host", b"x"), (b"authorization", b"Bearer " + (value if isinstance(value, bytes) else value.encode()))]


def ask(directory, headers=(), subjects=()):
    return directory.identify(headers, subjects, NOW)


def test_a_key_in_either_header():
    def body(directory):
        for headers in (bearer(KEY), [(b"x-api-key", KEY.encode())], [(b"authorization", f"BEARER  {KEY} ".encode())]):
            tenant = ask(directory, headers)
            assert (tenant.name, tenant.weight, tenant.max_priority) == ("shop", 3, 10)
            assert tenant.hop_lines == b"plimsoll-tenant: shop\r\nplimsoll-weight: 3\r\n"

    with_directory(SHOP, body=body)


@pytest.mark.parametrize(
    "headers",
    [
        bearer(NEXT),
        bearer(KEY[:-1]),
        bearer(KEY + "x"),
        bearer(""),
        bearer("plm_"),
        bearer(sha256(KEY.encode()).hexdigest()),  # the digest is no key
        bearer(DIGEST),
        [(b"x-api-key", b"")],
        [(b"authorization", b"")],
        [(b"authorization", b"Basic c2hvcDprZXk=")],
        [(b"authorization", KEY.encode())],
        [*bearer(KEY), *bearer(NEXT)],
        [(b"x-api-key", KEY.encode()), (b"x-api-key", NEXT.encode())],
        [*bearer(NEXT), (b"x-api-key", KEY.encode())],  # the first that counts is wrong
    ],
)
def test_what_is_sent_and_wrong_is_refused(headers):
    def body(directory):
        with pytest.raises(Unauthorized) as refused:
            ask(directory, headers)
        assert refused.value.status == 401
        assert KEY[4:] not in str(refused.value)

    with_directory(SHOP, body=body)


def test_nobody_said_who_they_are():
    def body(directory):
        assert ask(directory, [(b"host", b"x"), (b"plimsoll-tenant", b"shop")]) is None

    with_directory(SHOP, body=body)


def test_without_tenants_nothing_is_looked_at():
    def body(directory):
        assert ask(directory, bearer("sk-of-another-tool")) is None
        for service in SERVICES[::2]:
            directory.permit(None, service)

    with_directory(body=body)


def test_two_digests_while_a_key_is_replaced():
    old_and_new = TenantView("shop", {"ci": DIGEST, "ci/2": NEXT_DIGEST.removeprefix("sha256:")})
    new = TenantView("shop", {"ci": NEXT_DIGEST})

    def body(directory):
        before = ask(directory, bearer(KEY))
        directory.take(Snapshot(2, SERVICES, (old_and_new,)))
        assert ask(directory, bearer(KEY)).quota is ask(directory, bearer(NEXT)).quota is before.quota
        directory.take(Snapshot(3, SERVICES, (new,)))
        assert ask(directory, bearer(NEXT)).name == "shop"
        with pytest.raises(Unauthorized):
            ask(directory, bearer(KEY))

    with_directory(SHOP, body=body)


def test_a_key_of_two_tenants_is_the_firsts_and_said_so():
    def body(directory):
        assert ask(directory, bearer(KEY)).name == "shop"
        assert directory.problems() == [
            "tenant thief, API key mine: the same key is shop's, who has it",
            "tenant thief, API key junk: no SHA-256 digest; nobody can use it",
        ]

    with_directory(SHOP, TenantView("thief", {"mine": DIGEST, "junk": "not-hex"}), body=body)


def test_certificates():
    views = (
        TenantView("shop", subjects=("CN=shop, O=Example", "DNS:Shop.example.com")),
        TenantView("mesh", subjects=("URI:spiffe://example.com/mesh",)),
    )

    def body(directory):
        assert ask(directory, (), ["CN=shop,O=Example"]).name == "shop"
        assert ask(directory, (), ["CN=other", "DNS:shop.example.com"]).name == "shop"
        assert ask(directory, (), ["URI:spiffe://example.com/mesh"]).name == "mesh"
        assert ask(directory, (), ["CN=Shop,O=Example"]) is None
        assert ask(directory, (), ["O=Example,CN=shop"]) is None
        with pytest.raises(Unauthorized):  # a good certificate doesn't mend a wrong key
            ask(directory, bearer("plm_wrong"), ["CN=shop,O=Example"])

    with_directory(*views, body=body)


def test_what_a_tenant_may_call():
    views = (
        TenantView("any"),
        TenantView("shop", allow=(Allow(("shop",), {"tier": "online"}),)),
        TenantView("none", allow=(Allow(("nowhere",)),)),
    )

    def body(directory):
        may = {
            view.name: [service.name for service in SERVICES if directory.get(view.name).allows(service.name)]
            for view in views
        }
        assert may == {"any": ["sentiment", "fraud", "open"], "shop": ["sentiment"], "none": []}
        assert not directory.get("any").allows("unknown")
        directory.permit(directory.get("shop"), SERVICES[0])
        directory.permit(directory.get("none"), SERVICES[2])  # open to everybody
        with pytest.raises(Unauthorized, match="tenant shop may not call fraud") as refused:
            directory.permit(directory.get("shop"), SERVICES[1])
        assert refused.value.status == 403

    with_directory(*views, body=body)


@pytest.mark.parametrize(
    ("allow", "expected"),
    [
        (Allow(), True),
        (Allow(("shop", "x")), True),
        (Allow(("x",)), False),
        (Allow((), {"tier": "online"}), True),
        (Allow((), {"tier": "online", "a": "b"}), False),
        (Allow(("shop",), {"tier": "batch"}), False),
    ],
)
def test_reach(allow, expected):
    assert reaches(allow, SERVICES[0]) is expected


def test_anonymous_where_it_is_allowed():
    def body(directory):
        directory.permit(None, SERVICES[2])
        for service in SERVICES[:2]:  # left out: not once there are tenants
            with pytest.raises(Unauthorized, match="wants an API key or a token") as refused:
                directory.permit(None, service)
            assert refused.value.status == 401
        directory.take(Snapshot(2, SERVICES))
        directory.permit(None, SERVICES[0])
        with pytest.raises(Unauthorized):
            directory.permit(None, SERVICES[1])

    with_directory(SHOP, body=body)


def test_a_reload_keeps_what_was_spent_and_ends_what_is_gone():
    limited = TenantView("shop", {"ci": DIGEST}, requests_per_s=2, concurrent_requests=5)

    def body(directory):
        first = ask(directory, bearer(KEY))
        assert [first.quota.admit(0.0) is None for _ in range(3)] == [True, True, False]
        directory.take(Snapshot(2, SERVICES, (limited,)))  # as with each new replica
        second = ask(directory, bearer(KEY))
        assert second.quota.admit(0.0) is not None
        first.quota.ended(0.0)
        assert second.quota.in_flight == 1
        directory.take(Snapshot(3, SERVICES, (TenantView("other"),)))
        with pytest.raises(Unauthorized):
            ask(directory, bearer(KEY))
        second.quota.ended(0.0, tokens=5)  # a request of a tenant that is gone still ends
        assert second.quota.in_flight == 0
        directory.take(Snapshot(4, SERVICES, (limited,)))
        assert ask(directory, bearer(KEY)).quota.admit(0.0) is None

    with_directory(limited, body=body)


def test_without_redis_each_gateway_takes_its_share():
    limited = TenantView("shop", {"ci": DIGEST}, requests_per_s=8)

    def body(directory):
        quota = ask(directory, bearer(KEY)).quota
        assert [quota.admit(0.0) is None for _ in range(3)] == [True, True, False]

    with_directory(limited, body=body, limits=LimitsView(4))


def test_a_name_that_could_end_a_header_makes_no_tenant():
    for name in ("a\r\nplimsoll-weight: 9", "a\x00", "ü"):
        with pytest.raises(ValueError, match="can't stand in a header"):
            Tenant(TenantView(name), {}, TenantQuota())


def signed(name="checkout", team="checkout"):
    view = JwtView("https://id.example.com", "plimsoll", "https://id.example.com/keys", {"team": team})
    return TenantView(name, {"ci": DIGEST}, jwt=view)


async def known(directory, said):
    """As the door does it."""
    try:
        return ask(directory, bearer(said))
    except KeysPending as pending:
        await asyncio.wait([pending.future], timeout=20)
        return ask(directory, bearer(said))


def test_tokens_and_keys_side_by_side():

    async def body(directory):
        assert (await known(directory, token(RSA))).name == "checkout"
        assert ask(directory, bearer(KEY)).name == "checkout"
        with pytest.raises(Unauthorized, match="has expired"):
            await known(directory, token(RSA, exp=NOW - 99))

    with_directory(signed(), body=body)


def test_a_snapshot_that_changes_no_tenant_keeps_keys_and_known_tokens():
    asked = []

    async def fetch(uri):
        asked.append(uri)
        return jwks(jwk(RSA))

    async def body(directory):
        said = token(RSA)
        assert (await known(directory, said)).name == "checkout"
        directory.take(Snapshot(2, SERVICES[:1], (signed(),)))
        assert ask(directory, bearer(said)).name == "checkout"
        directory.take(Snapshot(3, SERVICES, (signed(team="other"),)))
        with pytest.raises(Unauthorized, match="lacks the claims"):  # at once, though it was known
            ask(directory, bearer(said))
        assert len(asked) == 1
        directory.take(Snapshot(4, SERVICES, (SHOP,)))
        with pytest.raises(Unauthorized):
            ask(directory, bearer(said))

    with_directory(signed(), body=body, fetch=fetch)


def test_an_issuer_that_is_away_from_the_start_is_said():
    from plimsoll.gateway.tenants.fetch import FetchFailed

    async def fetch(uri):
        raise FetchFailed("status 500")

    async def body(directory):
        with pytest.raises(Unauthorized, match="could not be fetched"):
            await known(directory, token(RSA))
        assert "no token of this issuer is accepted" in directory.problems()[0]
        assert ask(directory, bearer(KEY)).name == "checkout"  # keys don't need it

    with_directory(signed(), body=body, fetch=fetch)


def test_no_key_and_no_token_is_ever_told(caplog):
    """Everything that is logged, raised or shown by `repr`, whatever is sent."""
    told = []

    async def body(directory):
        good = token(RSA)
        sent = [KEY, NEXT, "plm_" + "z" * 43, "opaque-secret-word-123", good.decode(), good[:-20].decode()]
        sent += [token(rsa_key()).decode(), token(RSA, exp=NOW - 99).decode(), token(RSA, kid="no").decode()]
        for said in sent:
            for headers in (bearer(said), [(b"x-api-key", said.encode())], [(b"authorization", said.encode())]):
                try:
                    try:
                        tenant = ask(directory, headers)
                    except KeysPending as pending:
                        told.append(repr(pending))
                        await pending.future
                        tenant = ask(directory, headers)
                    told.append(repr(tenant))
                except RequestError as error:
                    told.extend((str(error), repr(error), repr(error.__cause__), repr(error.__context__)))
        told.extend(directory.problems())
        told.extend((repr(directory), repr(directory._keys), repr(directory._tokens), repr(SHOP)))
        text = "\n".join(told + [JsonFormatter().format(record) for record in caplog.records])
        for said in sent:
            for part in said.split("."):
                assert part not in text
        assert DIGEST.removeprefix("sha256:") not in text
        assert json.dumps(told)

    with caplog.at_level(logging.DEBUG):
        with_directory(signed(), TenantView("thief", {"a": DIGEST, "b": "junk"}), body=body)
    assert caplog.records
