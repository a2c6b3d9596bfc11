"""All of an installation, as a list: what is made, when, and in which order it is applied.

Each piece is a function of the values without branches; whether it is made, and for which items, stands beside it. So
one list gives the objects of `plimsoll install` and the templates of the chart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from plimsoll.backends.kubernetes.install import components, nodes, people, roles, surroundings
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.objects import Obj


@dataclass(frozen=True, slots=True)
class Piece:
    """`when`: dotted attribute that must be true; `!` before it: false. `each`: dotted attribute of a list; `build`
    then gets each item as its second argument."""

    name: str
    build: Callable[..., list[Obj]]
    when: str = ""
    each: str = ""


# Namespaces before what lives in them, accounts and roles before who runs as them, Deployments after what they mount.
PIECES = (
    Piece("namespace", surroundings.namespace, when="create_namespace"),
    Piece("authority-namespace", surroundings.authority_namespace),
    Piece("node-namespace", surroundings.node_namespace, when="model_cache.enabled"),
    Piece("priorities", surroundings.priorities),
    Piece("accounts", roles.accounts),
    Piece("cluster-roles", roles.cluster_roles),
    Piece("system-roles", roles.system_roles),
    Piece("authority-roles", roles.authority_roles),
    Piece("secret-namespaces", roles.secret_namespace, each="secrets.namespaces"),
    Piece("certificate-namespaces", roles.certificate_namespace, each="secrets.certificates"),
    Piece("people", people.roles),
    Piece("network-policies", surroundings.network_policies, when="network_policies.enabled"),
    Piece("services", components.services),
    Piece("budgets", components.budgets),
    Piece("operator", components.operator),
    Piece("controller", components.controller),
    Piece("gateway", components.scaled_gateway, when="gateway.autoscaling.enabled"),
    Piece("gateway-fixed", components.fixed_gateway, when="!gateway.autoscaling.enabled"),
    Piece("webhook", surroundings.webhook, when="webhook.enabled"),
    Piece("external-metrics", surroundings.external_metrics, when="metrics_apis.external"),
    Piece("custom-metrics", surroundings.custom_metrics, when="metrics_apis.custom"),
    Piece("model-cache", nodes.model_cache, when="model_cache.enabled"),
    Piece("pre-pull", nodes.pre_pull, each="pre_pull"),
    Piece("balloons", nodes.balloon, each="balloons"),
)


def system_objects(values: Values) -> list[Obj]:
    """Everything but the custom resource definitions, in the order to apply it."""
    return [cast(Obj, plain(made)) for piece in PIECES for made in _made(piece, values)]


def _made(piece: Piece, values: Values) -> Iterator[Obj]:
    if piece.when and bool(_at(values, piece.when.removeprefix("!"))) == piece.when.startswith("!"):
        return
    if not piece.each:
        yield from piece.build(values)
        return
    for item in _at(values, piece.each):
        yield from piece.build(values, item)


def _at(values: Values, dotted: str) -> Any:
    found: Any = values
    for name in dotted.split("."):
        found = getattr(found, name)
    return found


def plain(value: Any) -> Any:
    """Lists for tuples, as JSON and YAML have them."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
