"""The keys that the gateway acts on: access, cache, fallback, sessionAffinity, hedging; what is wrong with them."""

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.spec import ModelService, load_text, not_honoured

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec:\n  model: {path: m.py}\n"
CACHED = "cache: {ttl: 1m}\n  "


def service(spec: str) -> ModelService:
    (one,) = load_text(f"{HEAD}  {spec}\n", file="service.yaml")
    return one


def test_left_out_nobody_is_named_nothing_is_kept_and_nothing_else_answers() -> None:
    spec = service("retry: Once").spec
    assert spec.access.anonymous is None
    assert spec.cache is None
    assert spec.fallback == ()
    assert spec.session_affinity is None
    assert spec.hedging == "Never"


def test_a_cache_has_these_defaults() -> None:
    cache = service("cache: {ttl: 10m}").spec.cache
    assert cache is not None
    assert (cache.max_size, cache.scope, cache.key, cache.backend.type) == ("256Mi", "Tenant", None, "Memory")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("access: {anonymous: yes}", "spec.access.anonymous: expected true or false, not 'yes'"),
        ("access: {anonymus: true}", "spec.access.anonymus: unknown key; did you mean anonymous?"),
        ("access: true", "spec.access: expected a mapping with anonymous, not true"),
        ("anonymous: true", "spec.anonymous: unknown key here; did you mean spec.access.anonymous?"),
        ("cahce: {ttl: 10m}", "spec.cahce: unknown key; did you mean cache?"),
        ("cache: {}", "spec.cache.ttl: missing; expected how long an answer is given again"),
        ("cache: {ttl: 0s}", "spec.cache.ttl: '0s' is no time at all; expected a duration above 0"),
        ("cache: {ttl: 60}", "spec.cache.ttl: 60 has no unit; write 60ms or 60s"),
        ("cache: {ttl: 1m, maxSize: 5}", "spec.cache.maxSize: '5' is less than one mebibyte"),
        ("cache: {ttl: 1m, scope: Global}", "spec.cache.scope: 'Global' is not one of Tenant or Service"),
        ("cache: {ttl: 1m, key: {}}", "spec.cache.key.inputs: missing; expected the inputs that count"),
        ("cache: {ttl: 1m, key: {inputs: []}}", "spec.cache.key.inputs: expected at least 1 entry; add one, or remove"),
        ("cache: {ttl: 1m, key: {inputs: [a, b, a]}}", "spec.cache.key.inputs[2]: 'a' stands there twice; remove one"),
        ("cache: {ttl: 1m, key: {inputs: [5]}}", "spec.cache.key.inputs[0]: expected text, not the number 5; put it"),
        ('cache: {ttl: 1m, key: {inputs: [""]}}', "spec.cache.key.inputs[0]: has no text; expected some"),
        (
            "cache: {ttl: 1m, backend: {type: Redis}}",
            "spec.cache.backend.secretRef: missing; Redis needs the secret that holds its URL: secretRef: {name: ",
        ),
        ("cache: {ttl: 1m, backend: {type: Memcached}}", "spec.cache.backend.secretRef: missing; Memcached needs"),
        (
            "cache: {ttl: 1m, backend: {type: Memory, secretRef: {name: a, key: b}}}",
            "spec.cache.backend.secretRef: a cache in memory has no URL; remove secretRef, or write type: Redis or",
        ),
        ("cache: {ttl: 1m, backend: {}}", "spec.cache.backend.type: missing; expected Memory, Redis or Memcached"),
        ("cache: {ttl: 1m, backend: {type: Reddis}}", "spec.cache.backend.type: 'Reddis' is not one of Memory, Redis "),
        (
            "cache: {ttl: 1m, backend: {type: Redis, secretRef: {name: r}}}",
            "spec.cache.backend.secretRef.key: missing; expected the key in it",
        ),
        ("fallback: {type: Static}", "spec.fallback: expected a list (lines that start with '- '), not a mapping"),
        ("fallback: [{body: '1'}]", "spec.fallback[0].type: missing; expected StaleCache, Service or Static"),
        ("fallback: [{type: static, body: '1'}]", "is not one of StaleCache, Service or Static; did you mean Static?"),
        (
            "fallback: [{type: Upstream}]",
            "spec.fallback[0].type: Upstream is not supported by this version yet; expected StaleCache, Service or S",
        ),
        ("upstream: {url: x}", "spec.upstream: unknown key here; spec.model.upstream is not supported by this version"),
        ("fallback: [{type: Static}]", "spec.fallback[0].body: missing; a Static fallback needs it, such as body: '{"),
        ("fallback: [{type: Service}]", "spec.fallback[0].service: missing; a Service fallback needs it, such as se"),
        (
            CACHED + "fallback: [{type: StaleCache}]",
            "spec.fallback[0].maxAge: missing; a StaleCache fallback needs it, such as maxAge: 1h",
        ),
        (
            "fallback: [{type: Static, body: '1', maxAge: 1h}]",
            "spec.fallback[0].maxAge: belongs to type: StaleCache; a Static fallback has none, remove it",
        ),
        (
            "fallback: [{type: Static, body: '1', service: {name: b}}]",
            "spec.fallback[0].service: belongs to type: Service; a Static fallback has none, remove it",
        ),
        (
            "fallback: [{type: Service, service: {name: b}, body: '1'}]",
            "spec.fallback[0].body: belongs to type: Static; a Service fallback has none, remove it",
        ),
        (
            CACHED + "fallback: [{type: StaleCache, maxAge: 1h, contentType: text/plain}]",
            "spec.fallback[0].contentType: belongs to type: Static; a StaleCache fallback has none, remove it",
        ),
        (
            "fallback: [{type: Service, service: smaller}]",
            "spec.fallback[0].service: expected a mapping with name, not",
        ),
        ("fallback: [{type: Static, body: {score: 1}}]", "spec.fallback[0].body: expected text, not a mapping"),
        (
            "fallback: [{type: Static, body: sorry}]",
            "spec.fallback[0].body: 'sorry' is not JSON; mend it, or name what it is: contentType: text/plain",
        ),
        ("fallback: [{type: Static, body: NaN}]", "spec.fallback[0].body: 'NaN' is not JSON"),
        (f"fallback: [{{type: Static, body: '{'[' * 60_000}'}}]", "… is not JSON; mend it"),
        (f"fallback: [{{type: Static, body: '{'1' * 70_000}'}}]", "is too long; expected at most 65,536 characters"),
        (
            "fallback: [{type: Static, body: '1', contentType: json}]",
            "spec.fallback[0].contentType: 'json' is no media type; expected one such as application/json or text/p",
        ),
        (
            'fallback: [{type: Static, body: "1", contentType: "text/plain\\r\\nset-cookie: a=b"}]',
            "is no media type; expected one such as",
        ),
        (
            "fallback: [{type: StaleCache, maxAge: 1h}]",
            "spec.fallback[0].type: StaleCache needs a cache to take from; add cache: {ttl: 10m}",
        ),
        (
            CACHED + "fallback: [{type: StaleCache, maxAge: 60s}]",
            "spec.fallback[0].maxAge: 60s is not above the cache's ttl of 1m; what is younger is no fallback",
        ),
        (
            "fallback: [{type: Static, body: '1'}, {type: Service, service: {name: b}}]",
            "spec.fallback[1]: is never tried: fallback[0] is Static and always answers; put it before",
        ),
        (
            "fallback: [{type: Service, service: {name: b}}, {type: Service, service: {name: b}}]",
            "spec.fallback[1]: is the same as fallback[0]; remove one",
        ),
        ("sessionAffinity: {type: Header}", "spec.sessionAffinity.name: missing; expected the name of the header or "),
        ("sessionAffinity: {type: Ip, name: x}", "spec.sessionAffinity.type: 'Ip' is not one of Header or Cookie"),
        (
            "sessionAffinity: {type: Header, name: 'x y'}",
            "spec.sessionAffinity.name: 'x y' is no name of a header or a",
        ),
        ('sessionAffinity: {type: Cookie, name: "a\\n"}', "is no name of a header or a cookie"),
        ("sessionAffinity: {type: Header, name: Cookie}", "a header of many cookies; write type: Cookie and the name"),
        (
            "sessionAffinity: {type: Header, name: Plimsoll-Tenant}",
            "spec.sessionAffinity.name: 'Plimsoll-Tenant' is the server's own; expected a header of the client's",
        ),
        ("hedging: slow", "spec.hedging: 'slow' is not one of Never or Slow; did you mean Slow?"),
        ("hedging: true", "spec.hedging: True is not one of Never or Slow"),
        (
            "retry: Never\n  hedging: Slow",
            "spec.hedging: Slow asks two replicas, and retry: Never allows one; remove hedging, or write retry: Once",
        ),
    ],
)
def test_one_wrong_key(spec: str, expected: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        service(spec)
    (problem,) = caught.value.errors
    assert expected in str(problem)
    assert problem.file == "service.yaml"
    assert problem.line == 5 + len(spec.splitlines())


@pytest.mark.parametrize("key", ["..", "../b", "a/b", "", "...", "a\\0b", "ä"])
@pytest.mark.parametrize("field", ["name", "key"])
def test_a_secret_never_leads_out_of_its_folder(field: str, key: str) -> None:
    ref = {"name": "a", "key": "b", field: key.replace("\\0", "\0")}
    document = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "mood"},
        "spec": {"model": {"path": "m.py"}, "cache": {"ttl": "1m", "backend": {"type": "Redis", "secretRef": ref}}},
    }
    with pytest.raises(SpecErrors, match=f"spec.cache.backend.secretRef.{field}: .* is no {field} of a secret"):
        ModelService.parse(document)


def test_two_wrong_steps_are_two_problems_and_a_wrong_cache_hides_none_of_them() -> None:
    with pytest.raises(SpecErrors) as caught:
        service("cache: {ttl: soon}\n  fallback:\n  - {type: StaleCache}\n  - {type: Service, body: '1'}")
    assert [str(error).partition(": ")[0] for error in caught.value.errors] == [
        "service.yaml:6  spec.cache.ttl",
        "service.yaml:8  spec.fallback[0].maxAge",
        "service.yaml:9  spec.fallback[1].service",
        "service.yaml:9  spec.fallback[1].body",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "fallback: [{type: Static, body: sorry, contentType: text/plain; charset=utf-8}]",
        "fallback: [{type: Static, body: '', contentType: application/x-empty}]",
        "fallback: [{type: Service, service: {name: a}}, {type: Service, service: {name: b}}]",
        CACHED + "fallback: [{type: StaleCache, maxAge: 61s}]",
        "sessionAffinity: {type: Cookie, name: __Host-sid}",
        "cache: {ttl: 1m, key: {inputs: [a, b]}, backend: {type: Memcached, secretRef: {name: a.b-c, key: .URL_1}}}",
        "hedging: Slow\n  retry: Once",
        "hedging: Never\n  retry: Never",
        "access: {}",
    ],
)
def test_these_are_fine(spec: str) -> None:
    assert service(spec)


def test_what_bounds_itself_is_told_only_where_a_bound_was_written() -> None:
    backend = "backend: {type: Redis, secretRef: {name: redis-url, key: url}}"
    assert not_honoured(service(f"cache: {{ttl: 1m, maxSize: 1Gi, {backend}}}")) == [
        "spec.cache.maxSize: Redis bounds its own memory"
    ]
    assert not_honoured(service(f"cache: {{ttl: 1m, {backend}}}")) == []
    assert not_honoured(service("cache: {ttl: 1m, maxSize: 1Gi}")) == []
