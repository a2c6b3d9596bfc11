"""`plimsoll pack`: local models become artifacts that the files name by digest; the rest stays as it was written."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plimsoll.backends.kubernetes.artifacts.configmap import applies_client_side
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher, fetch_model
from plimsoll.backends.kubernetes.artifacts.listing import is_digest
from plimsoll.backends.kubernetes.artifacts.packing import Found, configmap_if_small, find_model, pinned, small
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.artifacts.registry import Repository
from plimsoll.backends.kubernetes.artifacts.registry_auth import login_of
from plimsoll.backends.kubernetes.artifacts.web import Refused, Unreachable, Web
from plimsoll.backends.kubernetes.objects import Obj, to_yaml
from plimsoll.core.errors import HostError, UserError
from plimsoll.core.units import format_bytes
from plimsoll.spec import ModelService, load_all_files, read
from plimsoll.spec.document import read_documents

_TAG_LENGTH = 12


@dataclass(frozen=True, slots=True)
class PackRequest:
    """`registry`: `HOST/PATH` for models that are too large for a ConfigMap, "" for none. `name`: of the repository
    below it; "" for the service's. `allow`: names that are packed although they look like secrets. `pin`: also fetch
    what a `uri` without a digest names, to pin what is there."""

    registry: str = ""
    name: str = ""
    allow: tuple[str, ...] = ()
    pin: bool = False


@dataclass(frozen=True, slots=True)
class PackedModel:
    """`sent_bytes`: to a registry; what it had already is not sent."""

    service: str
    uri: str
    digest: str
    size_bytes: int
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    sent_bytes: int = 0


@dataclass(slots=True)
class Packed:
    """`objects`: ConfigMaps first, then the files' documents in their order. `notes`: what a person should know."""

    objects: list[Obj] = field(default_factory=list)
    models: list[PackedModel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_yaml(self) -> str:
        return to_yaml(self.objects)


def pack_files(
    files: Sequence[Path], request: PackRequest, told: Callable[[PackedModel], None] = lambda _: None
) -> Packed:
    """Raises SpecErrors for what is wrong with the files, UserError for what can't be packed, HostError for a registry
    that refuses or isn't there."""
    services = {(one.origin.file, one.origin.line): one for one in load_all_files(files).services}
    if not services:
        raise UserError("there is no service in the files; expected a document with kind: ModelService")
    if request.name and len([one for one in services.values() if not one.is_packed]) > 1:
        raise UserError("--name names one repository, and there is more than one model to pack; pack them one by one")
    packed, documents = Packed(), []
    for file in files:
        for document in read_documents(read(file), str(file))[0]:
            data: Any = document.data
            if data is None:
                continue
            service = services.get((document.origin.file, document.origin.line))
            documents.append(data if service is None else _packed(service, data, request, packed))
    for model in packed.models:
        told(model)
    packed.objects += documents
    return packed


def _packed(service: ModelService, document: Obj, request: PackRequest, packed: Packed) -> Obj:
    """The document with its model pinned."""
    if service.spec.runtime.requirements and service.spec.runtime.image is None:
        packed.notes.append(
            f"{service.name}: runtime.requirements are installed by nobody on a cluster; build an image that has them: "
            f"plimsoll build {service.origin.file}"
        )
    if service.in_image:
        if service.spec.runtime.image is None:
            packed.notes.append(
                f"{service.name}: {service.spec.model.path} names a class to import, which no artifact holds; it needs "
                f"an image that has the package: plimsoll build {service.origin.file}"
            )
        return document
    if service.spec.model.uri is not None:
        return _pin(service, document, request, packed)
    found = find_model(service, service.directory.absolute(), allow=request.allow)
    _note_modules_beside(service, found, packed)
    model = _to_configmap(service, found, request, packed) or _to_registry(service, found, request)
    packed.models.append(model)
    return pinned(document, uri=model.uri, digest=model.digest, model_format=service.model_format)


def _to_configmap(service: ModelService, found: Found, request: PackRequest, packed: Packed) -> PackedModel | None:
    """None where a registry is the better place: it doesn't fit, or `kubectl apply` would not take it."""
    made = configmap_if_small(service, found) if request.registry else small(service, found)
    if made is None:
        return None
    configmap, uri = made
    if not applies_client_side(configmap):
        if request.registry:
            return None
        packed.notes.append(
            f"{service.name}: its ConfigMap is larger than kubectl apply remembers; use kubectl apply --server-side"
        )
    packed.objects.append(configmap)
    return _told(service, found, uri, found.listing.digest)


def _to_registry(service: ModelService, found: Found, request: PackRequest) -> PackedModel:
    host, path = _place(request.registry)
    name = f"{path}/{request.name or service.name}".lstrip("/")
    repository = Repository(host, name, login=login_of(host), push=True)
    tag = found.listing.digest.partition(":")[2][:_TAG_LENGTH]  # a manifest without a tag is garbage to many registries
    try:
        pushed = repository.push_model(found.layout.root, found.listing, tag)
    except (Refused, Unreachable) as error:
        raise HostError(f"the model of {service.name} can't be pushed: {error}") from error
    return _told(service, found, f"oci://{host}/{name}:{tag}", pushed.digest, pushed.sent_bytes)


def _place(registry: str) -> tuple[str, str]:
    """(host, path) of `HOST[:PORT]/PATH`."""
    host, _, path = registry.removeprefix("oci://").removeprefix("https://").strip("/").partition("/")
    if not host or ("." not in host and ":" not in host and host != "localhost"):
        raise UserError(f"--registry {registry}: expected HOST/PATH, such as registry.example.com/models")
    return host, path.lower()


def _told(service: ModelService, found: Found, uri: str, digest: str, sent: int = 0) -> PackedModel:
    files = tuple(file.path for file in found.listing.files)
    return PackedModel(service.name, uri, digest, found.listing.size, files, found.layout.left_out, sent)


def _note_modules_beside(service: ModelService, found: Found, packed: Packed) -> None:
    """A laptop finds modules beside the service file, too; a pod has only what was packed."""
    directory, root = service.directory.resolve(), found.layout.root.resolve()
    if root == directory or service.model_format != "Python":
        return
    modules = sorted(file.name for file in directory.glob("*.py") if not file.name.startswith("test_"))
    if modules:
        packed.notes.append(
            f"{service.name}: not packed: {', '.join(modules[:3])} beside the service file; what the model imports of "
            "it has to lie beside the model"
        )


def _pin(service: ModelService, document: Obj, request: PackRequest, packed: Packed) -> Obj:
    """A `uri` whose digest isn't pinned: a registry tells it, others only when everything is fetched once."""
    uri = service.spec.model.uri
    assert uri is not None
    reference = parse_uri(uri)
    if service.spec.model.digest is not None or not reference.network:
        return document
    try:
        if reference.scheme == "oci":
            repository = Repository(reference.host, reference.path, login=login_of(reference.host))
            digest, size = repository.manifest(reference.revision)[1], 0
        elif request.pin:
            with tempfile.TemporaryDirectory(prefix="plimsoll-pin-") as folder:
                fetched = fetch_model(uri, "", Path(folder), Fetcher(Web(), Credentials()))
            digest, size = fetched.digest, fetched.listing.size
        else:
            packed.notes.append(f"{service.name}: {uri} has no digest; --pin fetches it once and pins what is there")
            return document
    except (Refused, Unreachable, HostError) as error:
        raise HostError(f"what {service.name} names can't be pinned: {error}") from error
    if not is_digest(digest):
        packed.notes.append(
            f"{service.name}: an archive is pinned by its publisher's SHA-256; write it as model.digest"
        )
        return document
    packed.models.append(PackedModel(service.name, uri, digest, size))
    model: Obj = {}
    for key, value in document["spec"]["model"].items():
        model[key] = value
        if key == "uri":
            model["digest"] = digest
    return document | {"spec": document["spec"] | {"model": model}}


def line_of(model: PackedModel) -> str:
    """For a person: `mood   3 files, 12.4Ki   configmap://mood-model-57fe9a4c85`."""
    count = f"{len(model.files)} file{'' if len(model.files) == 1 else 's'}, " if model.files else ""
    sent = f", {format_bytes(model.sent_bytes)} sent" if model.sent_bytes else ""
    return f"{model.service}   {count}{format_bytes(model.size_bytes)}{sent}   {model.uri}"
