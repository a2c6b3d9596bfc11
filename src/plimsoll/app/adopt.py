"""`plimsoll adopt`: reads what a tutorial made, from files or a cluster, and writes a service in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from plimsoll.backends.kubernetes.install.adopting import Adopted, adopt, choose, files_of
from plimsoll.backends.kubernetes.install.adopting.apps import Endpoint, endpoints
from plimsoll.backends.kubernetes.install.adopting.choosing import WORKLOADS, Found
from plimsoll.backends.kubernetes.names import API_VERSION, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import HostError, UserError

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.reach import Reach

_KINDS = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Service"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
)  # fmt: skip
# What the server fills in, or somebody else wrote: no part of what the user meant.
_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True)
class App:
    """The source of a web app. `file`: its name, which is its module's with .py."""

    file: str
    source: str
    endpoint: Endpoint
    others: tuple[str, ...]


def from_files(paths: Sequence[Path], wanted: Sequence[str]) -> Found:
    """Raises UserError."""
    objects: list[Obj] = []
    for path in paths:
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{path}: can't be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
        for one in documents:
            if isinstance(one, dict):
                objects += one.get("items") or [] if one.get("kind") == "List" else [one]
    return choose([_plain(obj) for obj in objects if isinstance(obj.get("metadata"), dict)], wanted)


async def from_cluster(reach: "Reach", wanted: Sequence[str]) -> tuple[Found, dict[str, str]]:
    """(what belongs together, the platform's accelerator classes by resource). Raises UserError, ApiError."""
    if not any(one.partition("/")[0] for one in wanted):
        raise UserError("name what to adopt: plimsoll adopt deployment/NAME")
    namespace = reach.api.namespace
    found = [await reach.list(*kind, namespace, labels=f"!{SERVICE_LABEL}") for kind in _KINDS]  # not what is ours
    objects = [_plain(obj) for each in found for obj in each]
    classes: dict[str, str] = {}
    for platform in await reach.list(API_VERSION, "Platform"):
        for one in (platform.get("spec") or {}).get("acceleratorClasses") or []:
            classes.setdefault(one.get("resourceName", ""), one["name"])
    return choose(objects, wanted), classes


def _plain(obj: Obj) -> Obj:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _SERVERS_OWN}
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": meta}


def read_app(path: Path) -> App:
    """Raises UserError where the file holds no POST route."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if path.stem == "model" or not path.stem.isidentifier():
        raise UserError(f"{path}: the model class will lie in model.py beside it; give it another name, such as app.py")
    found = endpoints(source, path.stem)
    if not found:
        raise UserError(f'{path}: no POST route is found; expected one such as @app.post("/analyze")')
    return App(path.name, source, found[0], tuple(one.path for one in found[1:]))


def convert(found: Found, *, name: str, app: App | None, classes: dict[str, str] | None = None) -> Adopted:
    adopted = adopt(found, name=name, endpoint=app.endpoint if app is not None else None, classes=classes)
    if app is None or not app.others:
        return adopted
    others = f"routes: {', '.join(app.others)} are other models' or the app's own; adopt each with a class of its own"
    return Adopted(
        adopted.service, adopted.platform, adopted.image, adopted.own_image, adopted.endpoint, (*adopted.notes, others)
    )


def write(adopted: Adopted, folder: Path, app: App | None) -> list[Path]:
    """Returns what was written. Raises UserError where something is there already, HostError."""
    files = files_of(adopted, app=(app.file, app.source) if app is not None else None)
    for name in files:
        if (folder / name).exists():
            raise UserError(f"{folder / name} is there already; choose another folder with --to")
    made = []
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            made.append(path)
    except OSError as error:
        raise HostError(f"can't write {error.filename or folder}: {error.strerror}") from None
    return made


__all__ = ["WORKLOADS", "App", "convert", "from_cluster", "from_files", "read_app", "write"]
