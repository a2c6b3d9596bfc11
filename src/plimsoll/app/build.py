"""`plimsoll build`: a Dockerfile and its build context for a service, and the file that names the image."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from plimsoll import __version__
from plimsoll.app.build_lock import DISTRIBUTION, Lock, lock, machine_of
from plimsoll.backends.kubernetes.artifacts.dockerfile import (
    IMAGE_CODE_DIR,
    IMAGE_MODEL_DIR,
    ImageSpec,
    dockerfile,
    dockerignore,
)
from plimsoll.backends.kubernetes.artifacts.fetching.sources import files_below
from plimsoll.backends.kubernetes.artifacts.layout import BUILD_MARK, Layout, layout_of
from plimsoll.backends.kubernetes.artifacts.listing import listing_of
from plimsoll.backends.kubernetes.names import REPLICA_COMMAND
from plimsoll.backends.kubernetes.objects import Obj, to_yaml
from plimsoll.core.errors import HostError, UserError
from plimsoll.spec import ModelService, load_all_files, read
from plimsoll.spec.document import read_documents
from plimsoll.spec.formats import is_import

_EXTRAS = {"ONNX": "onnx", "SKLearn": "sklearn"}
_TAG_LENGTH = 12


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """`folder`: gets one folder a service. `tag`: the image's name; "" for SERVICE:DIGEST. `base`: "" for Python's own
    slim image of this version. `platform`: `linux/amd64`, `linux/arm64` or "". `model`: whether the image holds it."""

    folder: Path
    tag: str = ""
    base: str = ""
    platform: str = ""
    model: bool = True
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    service: str
    folder: Path
    image: str
    platform: str

    @property
    def command(self) -> str:
        return f"docker build --platform {self.platform} -t {self.image} {self.folder}"


@dataclass(slots=True)
class Builds:
    """`objects`: the files' documents, each service with its image."""

    objects: list[Obj] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_yaml(self) -> str:
        return to_yaml(self.objects)


def build_files(files: Sequence[Path], request: BuildRequest) -> Builds:
    """Raises SpecErrors, UserError, HostError."""
    services = {(one.origin.file, one.origin.line): one for one in load_all_files(files).services}
    if not services:
        raise UserError("there is no service in the files; expected a document with kind: ModelService")
    if request.tag and len(services) > 1:
        raise UserError("--tag names one image, and there are several services; build them one by one")
    builds = Builds()
    named = Counter(one.name for one in services.values())
    for file in files:
        for document in read_documents(read(file), str(file))[0]:
            data: Any = document.data
            service = services.get((document.origin.file, document.origin.line))
            if data is None:
                continue
            if service is not None:
                own = service.name if named[service.name] == 1 else f"{service.namespace or 'none'}.{service.name}"
                data = _one(service, data, request, builds, request.folder / own)
            builds.objects.append(data)
    return builds


def _one(service: ModelService, document: Obj, request: BuildRequest, builds: Builds, folder: Path) -> Obj:
    machine = machine_of(request.platform)
    _empty(folder)
    wheel = _wheel(folder / "wheels")
    requirements = _requirements(service, with_plimsoll=not wheel)
    locked = lock(requirements, machine)
    builds.notes += [f"{service.name}: {note}" for note in locked.notes]
    path, image_has = _copy_model(service, folder, request, builds)
    base = request.base or f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    _write(folder, service, locked, base, wheel=wheel, image_has=image_has)
    image = request.tag or f"{service.name}:{_digest(folder)[:_TAG_LENGTH]}"
    builds.built.append(Built(service.name, folder, image, f"linux/{machine}"))
    return with_image(document, image, path, service.model_format if path else "")


def _write(folder: Path, service: ModelService, locked: Lock, base: str, *, wheel: bool, image_has: str) -> None:
    image = ImageSpec(
        base,
        hashed=locked.hashed,
        wheels=wheel,
        model=image_has == "model",
        code=image_has == "app",
        labels={
            "org.opencontainers.image.title": service.name,
            "org.opencontainers.image.description": f"{service.name}, served by Plimsoll {__version__}",
            "dev.plimsoll.version": __version__,
        },
        command=REPLICA_COMMAND,
    )
    copied = ("requirements.txt", *(("wheels",) if wheel else ()), *((image_has,) if image_has else ()))
    (folder / "requirements.txt").write_text(locked.text, encoding="utf-8")
    (folder / "Dockerfile").write_text(dockerfile(image), encoding="utf-8")
    (folder / ".dockerignore").write_text(dockerignore(copied), encoding="utf-8")


def with_image(document: Obj, image: str, path: str, model_format: str) -> Obj:
    """The document with `runtime.image`, and where the image holds the model, `model.path` there. Order stays."""
    spec: Obj = dict(document["spec"])
    if path:
        model: Obj = spec["model"] | {"path": path}
        spec["model"] = model if "format" in model else model | {"format": model_format}
    if "runtime" in spec:
        spec["runtime"] = spec["runtime"] | {"image": image}
        return document | {"spec": spec}
    ordered: Obj = {}
    for key, value in spec.items():
        ordered[key] = value
        if key == "model":
            ordered["runtime"] = {"image": image}
    return document | {"spec": ordered}


def _empty(folder: Path) -> None:
    """A folder of ours is made anew; another's files are left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / BUILD_MARK).exists():
        raise UserError(f"{folder} holds something else; name another folder with -o")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / BUILD_MARK).touch()


def _requirements(service: ModelService, *, with_plimsoll: bool) -> list[str]:
    extra = _EXTRAS.get(service.model_format)
    wanted = f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION
    if with_plimsoll:
        return [f"{wanted}=={__version__}", *service.spec.runtime.requirements]
    own = importlib.metadata.requires(DISTRIBUTION) or []
    return [*(_unmarked(text) for text in own if _wanted(text, extra)), *service.spec.runtime.requirements]


def _wanted(text: str, extra: str | None) -> bool:
    from packaging.requirements import Requirement

    marker = Requirement(text).marker
    return marker is None or any(marker.evaluate({"extra": one or ""}) for one in {extra, None})


def _unmarked(text: str) -> str:
    return text.partition(";")[0].strip()


def _wheel(folder: Path) -> bool:
    """Plimsoll itself as a wheel, where it runs from a source tree or came as one; False where an index has it."""
    try:
        said = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        said = None
    if said is None:
        return False
    place = Path(unquote(urlsplit(json.loads(said)["url"]).path))
    folder.mkdir(parents=True)
    if place.is_file() and place.suffix == ".whl":
        shutil.copyfile(place, folder / place.name)
        return True
    if not (place / "pyproject.toml").is_file():
        raise HostError(f"{place}: Plimsoll was installed from there, and is not there any more; install it again")
    # With the build backend that is installed, where it is: no index is needed then
    isolated = [] if _installed("hatchling") else ["--build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [*(isolated or ["--no-build-isolation"]), "--wheel-dir", str(folder), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(f"Plimsoll's own wheel can't be built from {place}: {done.stderr.strip()[-300:]}")
    return True


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _copy_model(service: ModelService, folder: Path, request: BuildRequest, builds: Builds) -> tuple[str, str]:
    """(`model.path` in the image, folder of the context): "" for what stays as it is."""
    path = service.spec.model.path
    if path is None or (path.startswith("/") and service.in_image):
        return "", ""
    directory = service.directory.absolute()
    try:
        if is_import(path):
            return "", "app" if _copy_package(service, path, directory, folder, builds) else ""
        if not request.model:
            return "", ""
        found = layout_of(path, directory, allow=request.allow)
    except UserError as error:
        raise service.problem("spec.model.path", str(error)) from error
    _copy(found, folder / "model")
    return f"{IMAGE_MODEL_DIR}/{found.entry}".rstrip("/"), "model"


def _copy_package(service: ModelService, path: str, directory: Path, folder: Path, builds: Builds) -> bool:
    """The module that `path` names, where it lies beside the service file."""
    top = path.partition(":")[0].partition(".")[0]
    if (directory / top).is_dir():
        found = layout_of(top, directory)
        _copy(found, folder / "app" / top)
        return True
    if (directory / f"{top}.py").is_file():
        (folder / "app").mkdir()
        shutil.copyfile(directory / f"{top}.py", folder / "app" / f"{top}.py")
        return True
    builds.notes.append(
        f"{service.name}: {top} does not lie beside the service file; runtime.requirements have to bring it into "
        f"the image, or {IMAGE_CODE_DIR} of your own base"
    )
    return False


def _copy(found: Layout, target: Path) -> None:
    for name in found.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found.root / name, target / name)


def _digest(folder: Path) -> str:
    """Of the whole context: another one gives another tag."""
    files = [*files_below(folder), ".dockerignore"]
    return listing_of(folder, files).digest.partition(":")[2]
