"""Tokens: which are good, for whom and for how long."""

import asyncio
import base64

import pytest

pytest.importorskip("jwt", reason="pyjwt is not installed: pip install 'plimsoll-serve[jwt]'")

from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.gateway.tenants.issuer import NOW, ec_key, ed_key, handmade, jwk, jwks, rsa_key, token

from plimsoll.core.errors import Throttled, Unauthorized
from plimsoll.core.snapshot import JwtView, TenantView
from plimsoll.gateway.tenants.jwks import KeySet, KeysPending, parse_keys
from plimsoll.gateway.tenants.tokens import Tokens

RSA, OTHER, EC, ED = rsa_key(), rsa_key(), ec_key(), ed_key()


def tenant(name="checkout", claims=None, audience="plimsoll", issuer="https://id.example.com"):
    return TenantView(name, jwt=JwtView(issuer, audience, "https://id.example.com/keys", claims or {}))


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def key_set(*keys):
    async def never(uri):
        raise AssertionError(uri)

    made = KeySet("https://id.example.com/keys", never, Clock())
    made.keys = parse_keys(jwks(*keys))
    made.generation = 1
    return made


def tokens(*views, keys=None):
    keys = keys or key_set(jwk(RSA), jwk(EC, "ec"), jwk(ED, "ed"))
    return Tokens(views or (tenant(),), lambda uri: keys)


def refusal(said, made=None, now=NOW):
    with pytest.raises(Unauthorized) as refused:
        (made or tokens()).find(said, now)
    assert refused.value.status == 401
    for part in said.split(b"."):
        assert len(part) < 8 or part.decode("latin-1") not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("private", "algorithm", "kid"),
    [(RSA, name, "k1") for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")]
    + [(EC, "ES256", "ec"), (ED, "EdDSA", "ed")],
)
def test_asymmetric_signatures_are_accepted(private, algorithm, kid):
    assert tokens().find(token(private, algorithm, kid), NOW) == "checkout"


def test_the_larger_curves():
    for curve, algorithm in ((ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")):
        private = ec_key(curve)
        published = jwk(private)
        assert tokens(keys=key_set(published)).find(token(private, algorithm), NOW) == "checkout"


def test_shared_secrets_and_none_are_refused():
    secret = b"x" * 64
    assert "algorithm is not accepted" in refusal(token(secret, "HS256"))
    claims = {"iss": "https://id.example.com", "aud": "plimsoll", "exp": NOW + 99}
    for algorithm in ("none", "None", "NONE", "", None, 7, ["RS256"], "ES256K"):
        assert "algorithm is not accepted" in refusal(handmade({"alg": algorithm, "kid": "k1"}, claims, b"x" * 8))
    # The public key, which everybody has, taken for a shared secret.
    assert "algorithm is not accepted" in refusal(handmade({"alg": "HS256", "kid": "k1"}, claims, b"x" * 32))


def test_a_key_is_used_with_its_own_algorithms_alone():
    keys = key_set(jwk(RSA, alg="RS256"), jwk(EC, "ec"))
    assert "not its key's" in refusal(token(RSA, "RS512"), tokens(keys=keys))
    assert "not its key's" in refusal(token(RSA, "RS256", kid="ec"), tokens(keys=keys))
    assert tokens(keys=keys).find(token(RSA, "RS256"), NOW) == "checkout"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 61}, "has expired"),
        ({"exp": None}, "never expires"),
        ({"exp": "tomorrow"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": ["a", "b"]}, "another audience"),
        ({"iss": "https://evil.example.com"}, "issuer is not known"),
        ({"iss": None}, "issuer is not known"),
    ],
)
def test_claims_that_are_refused(claims, reason):
    assert reason in refusal(token(RSA, **claims))


@pytest.mark.parametrize("end", [float("inf"), float("nan")])
def test_a_token_without_a_real_end_is_refused(end):
    claims = {"iss": "https://id.example.com", "aud": "plimsoll", "exp": end}
    assert "malformed" in refusal(handmade({"alg": "RS256", "kid": "k1"}, claims))


def test_a_minute_of_leeway_on_both_sides():
    assert tokens().find(token(RSA, exp=NOW - 59), NOW) == "checkout"
    assert tokens().find(token(RSA, nbf=NOW + 59), NOW) == "checkout"
    assert tokens().find(token(RSA, aud=["other", "plimsoll"]), NOW) == "checkout"


def test_signatures_of_others_are_refused():
    assert "signature is wrong" in refusal(token(OTHER))
    good = token(RSA)
    head, body, signature = good.split(b".")
    evil = token(OTHER, team="admin").split(b".")[1]
    assert "signature is wrong" in refusal(b".".join((head, evil, signature)))
    assert "signature is wrong" in refusal(b".".join((head, body, b"")))


@pytest.mark.parametrize(
    "said", [b"..", b"a.b.c", b"e30.e30.e30", b"bnVsbA.bnVsbA.", b"\xff.\xff.\xff", b"W10.W10.", b"."]
)
def test_nonsense_is_refused(said):
    with pytest.raises(Unauthorized):
        tokens().find(said, NOW)


def test_nested_and_long_tokens_are_refused():
    assert "longer than" in refusal(token(RSA, pad="x" * 9000))
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000
    assert "malformed" in refusal(base64.urlsafe_b64encode(deep)[:4000] + b".e30.")


def test_extensions_that_are_not_understood_are_refused():
    assert "malformed" in refusal(token(RSA, headers={"crit": ["exp2"], "exp2": 1}))
    claims = {"iss": "https://id.example.com", "aud": "plimsoll", "exp": NOW + 9}
    assert "critical" in refusal(handmade({"alg": "RS256", "kid": "k1", "crit": ["b64"], "b64": True}, claims))
    # The key is ours to choose, never the token's.
    evil = token(OTHER, headers={"jwk": jwk(OTHER), "jku": "https://evil.example.com/keys", "x5u": "https://e.example"})
    assert "signature is wrong" in refusal(evil)
    assert "malformed" in refusal(handmade({"alg": "RS256", "kid": 7}, claims))


def test_claims_choose_the_tenant_and_the_one_that_asks_for_more_wins():
    made = tokens(tenant("all"), tenant("web", {"team": "web"}), tenant("ops", {"team": "web", "role": "ops"}))
    assert made.find(token(RSA, team="other"), NOW) == "all"
    assert made.find(token(RSA, team="web"), NOW) == "web"
    assert made.find(token(RSA, team=["x", "web"], role="ops"), NOW) == "ops"
    strict = tokens(tenant("web", {"team": "web"}))
    assert "lacks the claims" in refusal(token(RSA, team="webx"), strict)
    assert "lacks the claims" in refusal(token(RSA, team=None), strict)
    assert "lacks the claims" in refusal(token(RSA, team={"web": 1}), strict)


def test_a_token_that_is_known_is_still_held_to_its_times():
    made, said = tokens(), token(RSA, nbf=NOW)
    assert made.find(said, NOW) == "checkout"
    assert made._good
    assert "expired" in refusal(said, made, NOW + 361)  # the clock jumps ahead
    assert made.find(said, NOW) == "checkout"  # and back
    assert "not valid yet" in refusal(said, made, NOW - 61)


def test_a_token_is_forgotten_with_its_key():
    keys = key_set(jwk(RSA), jwk(EC, "ec"))
    made, said = tokens(keys=keys), token(RSA)
    assert made.find(said, NOW) == "checkout"
    keys._take(jwks(jwk(EC, "ec")))  # the issuer takes the key back
    assert "does not publish" in refusal(said, made)


def test_what_is_remembered_is_bounded():
    made = tokens(keys=key_set(jwk(ED)))
    made._good = {bytes([at % 256, at // 256]): (0.0, NOW + 9, "x", None, 0) for at in range(4096)}
    for at in range(5):
        made.find(token(ED, "EdDSA", jti=str(at)), NOW)
    assert len(made._good) == 4096


def test_without_a_key_id_there_must_be_but_one_key():
    assert tokens(keys=key_set(jwk(RSA))).find(token(RSA, kid=None), NOW) == "checkout"
    assert tokens(keys=key_set(jwk(RSA, None))).find(token(RSA, kid=None), NOW) == "checkout"
    assert "does not say which key" in refusal(token(RSA, kid=None))


def test_keys_that_are_no_good_are_left_out():
    found = parse_keys(
        jwks(
            jwk(RSA, "enc", use="enc"),
            jwk(RSA, "ops", key_ops=["encrypt"]),
            jwk(RSA, "hs", alg="HS256"),
            jwk(rsa_key(1024), "short"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
            {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
            {"kty": "EC", "crv": "secp256k1", "kid": "curve"},
            {"kid": "nothing"},
            jwk(RSA, "good", use="sig", x5c=["…"]),
        )
    )
    assert list(found) == ["good"]
    for text in (b"", b"[]", b"{}", b'{"keys": 7}', b"<html>"):
        with pytest.raises(ValueError, match="no JSON Web Key Set"):
            parse_keys(text)


def test_a_key_that_is_being_fetched_is_waited_for():
    async def main():
        published = []

        async def fetch(uri):
            await asyncio.sleep(0)
            return jwks(*published)

        clock = Clock()
        published.append(jwk(RSA))
        keys = KeySet("https://id.example.com/keys", fetch, clock)
        keys.start()
        made = tokens(keys=keys)
        with pytest.raises(KeysPending) as pending:  # the first fetch of all
            made.find(token(RSA), NOW)
        await pending.value.future
        assert made.find(token(RSA), NOW) == "checkout"
        published.append(jwk(OTHER, "k2"))  # the issuer has a new key
        assert "does not publish" in refusal(token(OTHER, kid="k2"), made)  # too soon for another fetch
        clock.now += 10
        with pytest.raises(KeysPending) as pending:
            made.find(token(OTHER, kid="k2"), NOW)
        with pytest.raises(KeysPending) as again:
            made.find(token(OTHER, kid="k2"), NOW)
        assert again.value.future is pending.value.future
        for _ in range(300):  # who makes up key ids
            try:
                made.find(token(OTHER, kid="k2"), NOW)
            except KeysPending:
                continue
            except Throttled:  # not its fault, should the token be good
                break
        else:
            raise AssertionError("any number may wait")
        await pending.value.future
        assert made.find(token(OTHER, kid="k2"), NOW) == "checkout"
        assert "does not publish" in refusal(token(OTHER, kid="k3"), made)
        keys.close()

    asyncio.run(main())
