"""Which requests are the same. A key too many costs a miss; a key too few gives one client another's answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cache_requests import JSON, infer, keys, only, post, tensor, view

from plimsoll.gateway.cache.key import LARGEST_BODY, LARGEST_CHOSEN, Keyer

BODY = b'{"text": "good"}'


def test_the_same_request_has_the_same_key_in_every_gateway():
    one, two = only(post(BODY)), only(post(BODY))
    assert one == two
    assert (len(one.key), one.may_read, one.id, one.revision) == (20, True, None, "r1")
    # Fixed: gateways of two releases may share a Redis for as long as an update takes.
    assert one.key.hex() == "8c58a6b3af6f4007dbc04c78ad7fe59a933f6be5"


def test_whatever_an_answer_may_depend_on_makes_another_key():
    requests = [
        only(post(BODY)),
        only(post(BODY + b" ")),
        only(post(b"")),
        only(post(BODY, path="/analyze2")),
        only(post(BODY, query="top=3")),
        only(post(BODY, path="/analyze?top=3")),
        only(post(BODY, of=(b"content-type", b"text/plain"))),
        only(post(BODY, of=None)),
        only(post(BODY), revision="r2"),
        only(post(BODY), service="fraud"),
        only(post(BODY), epoch=1),
        only(post(BODY), tenant="acme"),
        only(post(BODY), tenant="other"),
        only(post(BODY), tenant="acme", per_tenant=False),
        only(post(BODY), inputs=("text",)),
        only(post(BODY, path="/v2/models/mood/infer")),
        only(post(BODY, path="/v2/models/mood/versions/r1/infer")),
        only(post(BODY, path="/v1/models/mood:predict")),
    ]
    assert len({each.key for each in requests}) == len(requests)


def test_what_says_nothing_about_the_answer_makes_no_other_key():
    one = only(post(BODY))
    assert only(post(BODY, (b"user-agent", b"curl"), (b"x-request-id", b"7"), (b"cookie", b"a=b"))) == one
    assert only(post(BODY, of=(b"content-type", b"Application/JSON; charset=utf-8"))) == one
    assert only(post(BODY), ttl_s=1.0, max_bytes=1, stale_s=9.0) == one
    # scope Service: tenants share
    assert only(post(BODY), tenant="a", per_tenant=False) == only(post(BODY), tenant="b", per_tenant=False)


def test_texts_that_meet_at_another_place_are_not_the_same():
    assert only(post(BODY, path="/a", query="b")) != only(post(BODY, path="/ab", query=""))
    assert only(post(BODY), revision="r", tenant="1x") != only(post(BODY), revision="r1", tenant="x")
    one = only(post(b'{"a": "1", "b": ""}'), inputs=("a", "b"))
    assert one != only(post(b'{"a": "", "b": "1"}'), inputs=("a", "b"))


@pytest.mark.parametrize(
    "request_",
    [
        post(BODY, method="GET"),
        post(BODY, method="HEAD"),
        post(BODY, path="/v2/models/mood"),
        post(BODY, path="/v2/models/mood/ready"),
        post(BODY, path="/v1/models/mood"),
        post(BODY, (b"cache-control", b"no-store")),
        post(BODY, (b"cache-control", b"max-age=0, No-Store")),
        post(BODY, (b"content-encoding", b"gzip")),
        post(BODY, (b"inference-header-content-length", b"7")),
        post(BODY, (b"content-type", b"text/plain")),
        post(BODY, (b"authorization", b"Bearer x")),
        post(BODY, (b"x-api-key", b"x")),
        post(bytes(LARGEST_BODY + 1)),
    ],
)
def test_what_has_no_key(request_):
    assert only(request_) is None


@pytest.mark.parametrize("header", [(b"cache-control", b"no-cache"), (b"cache-control", b"foo, MAX-AGE=0"),
                                    (b"pragma", b"no-cache")])  # fmt: skip
def test_a_client_that_wants_a_new_answer_gets_one_and_it_is_kept(header):
    asked = only(post(BODY, header))
    assert not asked.may_read
    assert asked.key == only(post(BODY)).key
    assert only(post(BODY, (b"cache-control", b"max-age=10"))).may_read


def test_credentials_count_only_where_the_gateway_knows_whose_they_are():
    bearer = post(BODY, (b"authorization", b"Bearer x"))
    other = post(BODY, (b"authorization", b"Bearer y"))
    assert keys(bearer, per_tenant=False) == [None]
    assert only(bearer, tenant="acme") == only(other, tenant="acme")  # a key renewed, a token after an hour
    assert only(bearer, tenant="acme") != only(bearer, tenant="rival")
    assert only(bearer, tenant="acme", per_tenant=False) == only(post(BODY), per_tenant=False)


def test_no_client_can_fill_the_memory_of_scopes():
    keyer = Keyer("mood", view())
    for number in range(5000):
        assert keyer.key(post(BODY, query=f"n={number}"), "", "r1") is not None
    keyer.key(post(BODY, query="x" * 10_000), "", "r1")
    assert len(keyer._scopes) <= 1024
    assert max(len(query) for _, _, _, query, _ in keyer._scopes) < 300


# --- chosen inputs ----------------------------------------------------------------------------------------------------


def test_only_the_named_members_count_on_a_route_of_the_users_own():
    one = only(post(b'{"text": "good", "user": 7}'), inputs=("text",))
    assert one == only(post(b'{ "user":8,"more":[{}], "text" :"good" }'), inputs=("text",))
    assert one != only(post(b'{"text": "bad", "user": 7}'), inputs=("text",))
    many = only(post(b'[{"text": "good", "user": 7}]'), inputs=("text",))
    assert many != one  # its answer is a list
    assert many == only(post(b'[{"text": "good"}]'), inputs=("text",))
    assert many != only(post(b'[{"text": "good"}, {"text": "good"}]'), inputs=("text",))
    # As in every decoder of ours, the last of two members with one name counts.
    assert only(post(b'{"text": "bad", "text": "good"}'), inputs=("text",)) == one


@pytest.mark.parametrize("body", [b"", b"text", b"7", b'"good"', b"[]", b"[1]", b'{"txt": "good"}',
                                  b'[{"text": 1}, {}]',
                                  b'{"text": "good"', b"\xff", b"[" * 100_000,
                                  b'{"text":"' + b"x" * LARGEST_CHOSEN + b'"}'])  # fmt: skip
def test_a_body_without_the_named_inputs_has_no_key(body):
    assert only(post(body), inputs=("text",)) is None


def test_only_the_named_tensors_count_in_the_inference_protocol_and_its_id_is_the_requests_own():
    one = only(infer(tensor("x"), tensor("user", "[7]"), request_id="a"), inputs=("x",))
    two = only(infer(tensor("user", "[8]"), tensor("x"), request_id="b"), inputs=("x",))
    assert one.key == two.key
    assert (one.id, two.id, only(infer(tensor("x")), inputs=("x",)).id) == (b'"a"', b'"b"', b"")
    for other in (
        infer(tensor("x", "[1,3]")),
        infer(tensor("x", more=',"parameters":{"a":1}')),
        infer(tensor("x"), more=',"outputs":[{"name":"y"}]'),
        infer(tensor("x").replace("FP32", "FP64")),
        infer(tensor("x").replace("[1,2]", "[2,1]", 1)),
        infer(tensor("x"), path="/v2/models/mood/versions/r1/infer"),
    ):
        assert only(other, inputs=("x",)).key != one.key


@pytest.mark.parametrize("request_", [infer(tensor("y")), infer(tensor("x"), tensor("x")), infer(), infer("7"),
                                      infer(tensor("x"), request_id='"'),
                                      post(BODY, path="/v2/models/m/infer")])  # fmt: skip
def test_a_request_of_the_inference_protocol_that_cannot_be_read_has_no_key(request_):
    assert only(request_, inputs=("x",)) is None


def test_instances_of_kserve_v1():
    def predict(body):
        return only(post(body, path="/v1/models/mood:predict"), inputs=("x",))

    one = predict(b'{"instances": [{"x": [1, 2], "user": 7}]}')
    assert one == predict(b'{"signature": 1, "instances": [{"user": 8, "x": [1, 2]}]}')
    assert one != predict(b'{"instances": [{"x": [1, 3]}]}')
    bare = predict(b'{"instances": [[1, 2], [3, 4]]}')  # a model with one input takes the bare value
    assert bare == predict(b'{"user": 7, "instances": [[1, 2], [3, 4]]}')
    assert bare != predict(b'{"instances": [[1, 2], [3, 5]]}')
    for body in (
        b'{"instances": [{"y": 1}]}',
        b'{"instances": [[1], {"x": 1}]}',
        b'{"inputs": []}',
        b'{"instances": 7}',
    ):
        assert predict(body) is None
    two = [only(post(b'{"instances": [[1]]}', path="/v1/models/m:predict"), inputs=("x", "y"))]
    assert two == [None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), json_values), st.dictionaries(st.sampled_from("abc"), json_values))
def test_equal_keys_mean_equal_chosen_inputs(one, two):
    first, second = keys(*(post(json.dumps(body).encode()) for body in (one, two)), inputs=("a", "b"))
    assert (first is None) == (not {"a", "b"} <= one.keys())
    if first is not None and second is not None:
        same = [json.dumps(one[name]) == json.dumps(two[name]) for name in "ab"]
        assert (first == second) == all(same)


@given(st.binary(max_size=60))
def test_no_bytes_can_harm_it(body):
    for path in ("/analyze", "/v2/models/mood/infer", "/v1/models/mood:predict"):
        only(post(body, path=path, of=JSON), inputs=("x",))
