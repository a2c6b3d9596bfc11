"""What is wrong between objects: names, credentials, a second platform, and fallbacks that lead nowhere or round."""

from pathlib import Path

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.spec import (
    Documents,
    ModelService,
    check_here,
    check_references,
    check_together,
    load_all_file,
    load_all_files,
    load_all_text,
    load_files,
    load_text,
)

TENANT = "apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\nmetadata: {name: %s}\nspec:\n  auth: {%s}\n"
PLATFORM = "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: %s}\nspec: {}\n"
CERTIFICATE = "certificates: [{subject: '%s'}]"


def service(name: str, *fallback: str) -> str:
    """Nine lines with one fallback: the service's name in line 3, its first step in line 7."""
    steps = "".join(f"  - type: Service\n    service: {{name: {other}}}\n" for other in fallback)
    head = f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {name}}}\nspec:\n"
    return f"{head}  model: {{path: m.py}}\n" + (f"  fallback:\n{steps}" if steps else "")


def several(*documents: str) -> list[ModelService]:
    return load_text("---\n".join(documents), file="all.yaml")


def wrong(services: list[ModelService]) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        check_references(services)
    return [str(error) for error in caught.value.errors]


def test_a_fallback_may_stand_before_or_after_and_in_a_diamond() -> None:
    check_references([])
    check_references(several(service("a", "b", "c"), service("b", "d"), service("c", "d"), service("d")))
    check_references(several(service("d"), service("a", "d")))


def test_an_unknown_service_names_the_nearest() -> None:
    assert wrong(several(service("fraud", "fraud-rule"), service("fraud-rules"))) == [
        "all.yaml:8  spec.fallback[0].service.name: no service is named fraud-rule; did you mean fraud-rules?"
    ]
    assert wrong(several(service("a", "zzz"), service("b"))) == [
        "all.yaml:8  spec.fallback[0].service.name: no service is named zzz; there are others: b"
    ]
    assert wrong(several(service("a", "zzz"))) == ["all.yaml:8  spec.fallback[0].service.name: no service is named zzz"]


def test_a_service_that_falls_back_to_itself() -> None:
    assert wrong(several(service("a", "b", "a"), service("b"))) == [
        "all.yaml:10  spec.fallback[1].service.name: a would fall back to itself; expected another service"
    ]


def test_a_loop_is_told_once_with_its_way_at_the_step_that_closes_it() -> None:
    assert wrong(several(service("a", "b"), service("b", "a"))) == [
        "all.yaml:17  spec.fallback[0].service.name: falls back in a loop: a → b → a; take one step out"
    ]
    (problem,) = wrong(
        several(service("x", "b"), service("a", "b"), service("b", "c"), service("c", "d", "a"), service("d"))
    )
    assert problem.startswith("all.yaml:")
    assert "falls back in a loop: b → c → a → b; take" in problem


def test_two_loops_are_two_problems() -> None:
    found = wrong(several(service("a", "b"), service("b", "a"), service("c", "e"), service("e", "c")))
    assert [line.partition("loop: ")[2] for line in found] == [
        "a → b → a; take one step out",
        "c → e → c; take one step out",
    ]


def test_a_chain_longer_than_pythons_stack_is_no_loop_until_it_is_closed() -> None:
    chain = [ModelService.parse(_data(f"s{n}", f"s{n + 1}")) for n in range(3000)]
    end = ModelService.parse(_data("s3000", None))
    check_references([*chain, end])
    with pytest.raises(SpecErrors, match=r"falls back in a loop: s0 → s1 → "):
        check_references([*chain, ModelService.parse(_data("s3000", "s0"))])


def _data(name: str, other: str | None) -> dict[str, object]:
    spec: dict[str, object] = {"model": {"path": "m.py"}}
    if other is not None:
        spec["fallback"] = [{"type": "Service", "service": {"name": other}}]
    head = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService"}
    return {**head, "metadata": {"name": name}, "spec": spec}


def test_files_are_checked_together_and_one_alone_is_not(tmp_path: Path) -> None:
    one, two, bad = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "bad.yaml"
    one.write_text(service("a", "b"))
    two.write_text(service("b") + "---\n" + TENANT % ("shop", CERTIFICATE % "CN=a"))
    assert [service.name for service in load_all_file(one).services] == ["a"]
    with pytest.raises(SpecErrors, match=r"one\.yaml:8  spec\.fallback\[0\]\.service\.name: no service is named b"):
        load_files([one])
    documents = load_all_files([one, two])
    assert [whole.name for whole in documents.services] == ["a", "b"]
    assert [whole.name for whole in documents.tenants] == ["shop"]
    # What a broken file would hold is unknown: `b` may well stand in it.
    bad.write_text(service("b") + "  retry: once\n")
    with pytest.raises(SpecErrors) as caught:
        load_all_files([one, bad])
    assert [error.key for error in caught.value.errors] == ["spec.retry"]


def test_the_same_name_is_fine_for_two_kinds_not_for_two_of_a_kind() -> None:
    mixed = load_all_text(f"{service('shop')}---\n{TENANT % ('shop', CERTIFICATE % 'CN=a')}---\n{PLATFORM % 'shop'}")
    assert [type(whole).__name__ for whole in mixed] == ["ModelService", "Tenant", "Platform"]
    assert mixed
    assert not Documents()
    twice = TENANT % ("shop", CERTIFICATE % "CN=a") + "---\n" + TENANT % ("shop", CERTIFICATE % "CN=b")
    with pytest.raises(SpecErrors) as caught:
        load_all_text(twice, file="t.yaml")
    assert str(caught.value) == "t.yaml:9  metadata.name: shop is the name of the tenant in t.yaml:3 too"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            CERTIFICATE % "CN=a,O=b",
            CERTIFICATE % "cn=a, o=b",
            "t.yaml:11  spec.auth.certificates[0].subject: this subject stands for one too, in t.yaml:5",
        ),
        (
            "jwt: {issuer: i, audience: a, jwksUri: 'https://i/k', claims: {x: '1', y: '2'}}",
            "jwt: {issuer: i, audience: a, jwksUri: 'https://i/other', claims: {y: '2', x: '1'}}",
            "t.yaml:11  spec.auth.jwt: a token of this issuer and audience with these claims stands for one too, in "
            "t.yaml:5",
        ),
    ],
)
def test_one_credential_does_not_stand_for_two_tenants(first: str, second: str, expected: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(TENANT % ("one", first) + "---\n" + TENANT % ("two", second), file="t.yaml")
    assert str(caught.value) == expected
    different = second.replace("a,", "z,").replace("audience: a", "audience: z")
    assert len(load_all_text(TENANT % ("one", first) + "---\n" + TENANT % ("two", different)).tenants) == 2


def test_there_is_one_platform() -> None:
    one, two = (load_all_text(PLATFORM % name, file=f"{name}.yaml") for name in ("default", "other"))
    check_together(one)
    with pytest.raises(SpecErrors) as caught:
        check_together(one.joined(two))
    assert str(caught.value) == "other.yaml:2  kind: a platform stands in default.yaml:2 already; there is one"


def spaced(name: str, namespace: str, *fallback: str) -> str:
    return service(name, *fallback).replace(f"{{name: {name}}}", f"{{name: {name}, namespace: {namespace}}}", 1)


def test_one_name_may_stand_in_two_namespaces_and_twice_in_none() -> None:
    two = load_all_text("---\n".join([spaced("mood", "shop"), spaced("mood", "bank")]), file="all.yaml")
    check_together(two)
    with pytest.raises(SpecErrors) as caught:
        load_all_text("---\n".join([spaced("mood", "shop"), spaced("mood", "bank"), spaced("mood", "shop")]))
    assert [str(error) for error in caught.value.errors] == [
        "<text>:15  metadata.name: mood is the name of the service in <text>:3, in namespace shop too"
    ]


def test_where_there_are_no_namespaces_two_of_one_name_are_refused_with_the_reason() -> None:
    two = load_all_text("---\n".join([spaced("mood", "shop"), service("mood")]), file="all.yaml")
    with pytest.raises(SpecErrors) as caught:
        check_here(two)
    assert [str(error) for error in caught.value.errors] == [
        "all.yaml:9  metadata.name: mood in none is also in all.yaml:3, in namespace shop: a cluster can tell them "
        "apart; here there are no namespaces; give one of them another name, or run one file of the two"
    ]


def test_a_fallback_stays_in_its_namespace() -> None:
    check_references(
        several(spaced("a", "shop", "b"), spaced("b", "shop"), spaced("b", "bank", "a"), spaced("a", "bank"))
    )
    check_references(several(spaced("a", "shop", "b"), service("b")))  # it may come to stand there
    assert wrong(several(spaced("a", "shop", "b"), spaced("b", "bank"))) == [
        "all.yaml:8  spec.fallback[0].service.name: no service is named b in namespace shop, where a fallback stays; "
        "there is one in bank"
    ]
    assert wrong(several(spaced("a", "shop", "b"), spaced("b", "shop", "a"), spaced("b", "bank"))) == [
        "all.yaml:17  spec.fallback[0].service.name: falls back in a loop: a → b → a; take one step out"
    ]
    here = load_all_text("---\n".join([spaced("a", "shop", "b"), spaced("b", "bank")]))
    check_here(here)  # a laptop knows names alone


def test_a_path_is_a_namespaces_own_and_a_host_is_there_once() -> None:
    def routed(namespace: str, route: str) -> str:
        return f"{spaced(namespace + '-mood', namespace)}  routes: [{route}]\n"

    anywhere = load_all_text("---\n".join([routed("shop", "{path: /analyze}"), routed("bank", "{path: /analyze}")]))
    check_together(anywhere)
    with pytest.raises(SpecErrors, match="/analyze is a route of shop-mood too"):
        check_here(anywhere)
    named = "{path: /analyze, host: ai.example.com}"
    with pytest.raises(SpecErrors, match="/analyze is a route of shop-mood too"):
        load_all_text("---\n".join([routed("shop", named), routed("bank", named)]))
