"""`plimsoll render`: service files to the objects of a cluster, as text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.app.sources import check_namespace
from plimsoll.backends.kubernetes.artifacts.packing import pack_small
from plimsoll.backends.kubernetes.objects import Obj, to_yaml
from plimsoll.backends.kubernetes.options import NEWEST_MINOR, OLDEST_MINOR, ClusterOptions, Mode
from plimsoll.backends.kubernetes.render import Rendered, render_all
from plimsoll.core.errors import UserError
from plimsoll.spec import Documents, ModelService, check_together, load_all_files

# What `render` takes for there: whoever names a Gateway or KEDA in a file has one.
KNOWN_APIS = frozenset(
    {
        "gateway.networking.k8s.io/v1",
        "gateway.networking.k8s.io/v1beta1",
        "keda.sh/v1alpha1",
        "monitoring.coreos.com/v1",
        "cert-manager.io/v1",
    }
)


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """`namespace`: of services that name none. `pack`: local models that are small become ConfigMaps beside them."""

    options: ClusterOptions
    namespace: str = ""
    pack: bool = False


def render_files(files: Sequence[Path], request: RenderRequest) -> Rendered:
    """Raises SpecErrors for what is wrong with the files, UserError for what a cluster can't run."""
    found = load_all_files(files)
    packed: list[Obj] = []
    services: list[ModelService] = []
    placed = tuple(_placed(service, request.namespace) for service in found.services)
    check_together(Documents(placed, found.tenants, found.platforms))  # two may now be in one namespace
    for service in placed:
        whole, objects = service, list[Obj]()
        if request.pack and not service.is_packed:
            whole, objects = pack_small(service, service.directory.absolute())
        packed += objects
        services.append(whole)
    if not services:
        raise UserError("there is no service in the files; expected a document with kind: ModelService")
    rendered = render_all(services, found.platform, request.options)
    return Rendered((*packed, *rendered.objects), rendered.notes)


def _placed(service: ModelService, namespace: str) -> ModelService:
    if not namespace:
        return service
    check_namespace(service, namespace)
    if service.namespace:
        return service
    document = service.dump()
    document["metadata"] = {"name": document["metadata"].pop("name"), "namespace": namespace} | document["metadata"]
    return ModelService.parse(document, service.origin)


def cluster_options(
    *, mode: str, kubernetes: str, image: str | None, apis: Sequence[str], pull_secrets: Sequence[str] = ()
) -> ClusterOptions:
    """From the words of a command line. Raises UserError."""
    try:
        chosen = Mode(mode)
    except ValueError:
        raise UserError(f"--mode {mode}: expected plain or operator") from None
    for api in apis:
        if api.count("/") != 1:
            raise UserError(f"--api {api}: expected GROUP/VERSION, such as keda.sh/v1alpha1")
    named: dict[str, Any] = {} if image is None else {"image": image}
    return ClusterOptions(
        minor=_minor(kubernetes),
        apis=frozenset(apis) if apis else KNOWN_APIS,
        mode=chosen,
        image_pull_secrets=tuple(pull_secrets),
        **named,
    )


def _minor(version: str) -> int:
    major, _, minor = version.removeprefix("v").partition(".")
    minor = minor.partition(".")[0]
    if major != "1" or not minor.isdecimal():
        raise UserError(f"--kubernetes {version}: expected a version such as 1.{NEWEST_MINOR}")
    if int(minor) < OLDEST_MINOR:
        raise UserError(f"--kubernetes {version}: 1.{OLDEST_MINOR} is the oldest that objects are made for")
    return int(minor)


def text_of(rendered: Rendered, form: str) -> str:
    """`yaml`: documents; `json`: one List. Raises UserError for another form."""
    if form == "yaml":
        return to_yaml(rendered.objects)
    if form == "json":
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(rendered.objects)}, indent=2) + "\n"
    raise UserError(f"--output {form}: expected yaml or json")
