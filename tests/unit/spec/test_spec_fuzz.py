"""Whatever a file holds, `load_all_text` gives objects or raises SpecErrors; what is valid survives dump and parse."""

import contextlib
import json
import string

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.spec import KINDS, Documents, ModelService, json_schema, load_all_text, load_text

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(text: str) -> None:
    found: tuple[SpecError, ...] = ()
    documents = Documents()
    try:
        documents = load_all_text(text, file="f.yaml")
    except SpecErrors as errors:
        found = errors.errors
    assert bool(documents) != bool(found)
    for error in found:
        assert str(error).startswith("f.yaml")
        assert str(error).isprintable()
        assert len(str(error)) < 1000
        assert 0 <= error.line <= len(text) + 1


@QUICK
@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text(text: str) -> None:
    check(text)


@QUICK
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    check(raw.decode("latin-1"))
    check(raw.decode("utf-8", "surrogateescape"))


@QUICK
@given(st.text(st.sampled_from("ab:-?[]{}&*!|>'\"%@`#, \n\t<=~0\\"), max_size=120))
def test_text_of_yaml_signs(text: str) -> None:
    check(text)
    check(f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: a}}\nspec:\n  model: {text}\n")


def every_key(schema: dict, found: set[str] | None = None) -> list[str]:
    found = set() if found is None else found
    for name, field in schema.get("properties", {}).items():
        found.add(name)
        every_key(field, found)
    every_key(schema["items"], found) if "items" in schema else None
    return sorted(found)


KEYS = st.one_of(
    st.sampled_from(
        [
            *(key for kind in KINDS.values() for key in every_key(json_schema(kind))),
            "cost",
            "uri",
            "maxReplica",
            "p98",
            "<<",
            "a.b/c",
        ]
    ),
    st.text(max_size=8),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(
        ["plimsoll.dev/v1alpha1", "ModelService", "Tenant", "Platform", "100ms", "5m", "0s", "512Mi", "500m", "0.1%",
         "m.py", "m.pkl", "a:B", "/analyze", "/v2", "Python", "ONNX", "Thread", "Once", "Pickle", "numpy>=2",
         "Static", "StaleCache", "Redis", "Memory", "Header", "Slow", "CN=a,O=b", "https://a.b/c", "{}", "text/plain"]
    ),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


@QUICK
@given(st.lists(VALUES, min_size=1, max_size=3))
def test_any_structure(documents: list[object]) -> None:
    check(yaml.safe_dump_all(documents))
    check("\n---\n".join(json.dumps(document) for document in documents))


@QUICK
@given(st.dictionaries(KEYS, VALUES, max_size=8), VALUES)
def test_any_structure_in_the_places_of_keys(spec: dict[str, object], metadata: object) -> None:
    for name, kind in KINDS.items():
        document = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": name, "metadata": metadata, "spec": spec}
        check(yaml.safe_dump(document))
        with contextlib.suppress(SpecErrors):
            assert kind.parse(document).dump()


def durations(least_ms: int = 1) -> st.SearchStrategy[str]:
    return st.integers(least_ms, 10**6).flatmap(lambda n: st.sampled_from([f"{n}ms", f"{n / 8:g}s", f"{n}s"]))


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@st.composite
def valid_services(draw: st.DrawFn) -> dict[str, object]:
    """Only optional keys are left out at random, so each key is written in about half of them."""

    def some(**fields: st.SearchStrategy[object]) -> dict[str, object]:
        return {name: draw(value) for name, value in fields.items() if draw(st.booleans())}

    p50, p95, p99 = sorted(draw(st.tuples(*[st.integers(1, 10**5)] * 3)))
    latency = {name: f"{value}ms" for name, value in (("p50", p50), ("p95", p95), ("p99", p99)) if draw(st.booleans())}
    least = draw(st.integers(1, 50))
    spec: dict[str, object] = {
        "model": draw(st.sampled_from([{"path": "m.py"}, {"path": "m.onnx"}, {"path": "x", "format": "SKLearn"}])),
        "scaling": {"minReplicas": least, **some(maxReplicas=st.integers(least, 99), hold=durations())},
        "budget": {
            "latency": latency,
            **some(errorRate=st.integers(0, 100).map(lambda n: f"{n}%"), window=durations(8000)),
        },
        **some(
            retry=st.sampled_from(["Once", "Never"]),
            replicas=st.integers(0, 99),
            timeout=st.integers(p99, 10**6).map(lambda n: f"{n}ms"),
            routes=st.lists(NAMES, unique=True, max_size=4).map(
                lambda names: [{"path": f"/r{n}", "host": n} for n in names]
            ),
        ),
        "runtime": some(
            isolation=st.sampled_from(["Thread", "Process"]), predictTimeout=durations(), loadTimeout=durations()
        ),
        "resources": {
            "requests": some(cpu=st.sampled_from(["500m", "2", "1.5"]), memory=st.sampled_from(["1Gi", "9M"]))
        },
        "batching": some(maxSize=st.integers(1, 1000)),
        "access": some(anonymous=st.booleans()),
        "cache": {
            "ttl": "1m",
            **some(
                scope=st.sampled_from(["Tenant", "Service"]),
                maxSize=st.just("1Gi"),
                key=st.lists(st.text(min_size=1, max_size=9), min_size=1, unique=True).map(lambda it: {"inputs": it}),
                backend=st.sampled_from(
                    [{"type": "Memory"}, {"type": "Redis", "secretRef": {"name": "redis.url", "key": "URL_1"}}]
                ),
            ),
        },
        **some(
            fallback=st.lists(
                st.sampled_from(
                    [{"type": "StaleCache", "maxAge": "1h"}, {"type": "Service", "service": {"name": "b"}}]
                ),
                unique_by=lambda step: step["type"],
            ).map(lambda steps: [*steps, {"type": "Static", "body": "no", "contentType": "text/plain; charset=utf-8"}]),
            sessionAffinity=st.sampled_from([{"type": "Header", "name": "X-User"}, {"type": "Cookie", "name": "sid"}]),
            hedging=st.just("Never"),
        ),
    }
    labels = st.dictionaries(NAMES, st.text(string.ascii_letters, min_size=1, max_size=20), max_size=3)
    metadata = {"name": draw(NAMES), **some(namespace=NAMES, labels=labels, annotations=labels)}
    return {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": metadata, "spec": spec}


@QUICK
@given(valid_services())
def test_valid_services_survive(written: dict[str, object]) -> None:
    service = ModelService.parse(written)
    assert service.dump() == written
    assert ModelService.parse(json.loads(json.dumps(service.dump()))) == service
    (again,) = load_text(yaml.safe_dump(written))
    assert again == service
    assert 1 <= service.min_replicas <= service.max_replicas
    assert service.p99_s is None or service.timeout_s >= service.p99_s
