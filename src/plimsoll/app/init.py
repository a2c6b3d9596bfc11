"""`plimsoll init`: writes a service to start from. The templates lie beside this file, with `$name` to fill in."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from plimsoll.core.errors import HostError, UserError

KINDS = ("python", "onnx", "sklearn")

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_SUFFIX = ".tmpl"  # so that no tool takes a template for a module


def render(kind: str, name: str, folder: Path) -> list[Path]:
    """Writes service.yaml, the model (or what trains it), its test and a request into `folder`; returns their paths.

    Raises UserError for an unknown kind, a name that Kubernetes would refuse, or a file that is there already;
    HostError where the folder can't be written.
    """
    if kind not in KINDS:
        raise UserError(f"init: unknown kind {kind!r}; expected one of {', '.join(KINDS)}")
    if _NAME.match(name) is None:
        raise UserError(f"init: {name!r} can't be a name; use up to 63 of a-z, 0-9 and -, beginning with a letter")
    words = {"name": name, "class_name": _class_name(name)}
    templates = sorted((files("plimsoll.app") / "templates" / kind).iterdir(), key=lambda template: template.name)
    made = {folder / template.name.removesuffix(_SUFFIX): Template(template.read_text()) for template in templates}
    for path in made:
        if path.exists():
            raise UserError(f"init: {path} is there already; choose another name or folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in made.items():
            path.write_text(template.substitute(words))
    except OSError as error:
        raise HostError(f"init: can't write {error.filename or folder}: {error.strerror}") from None
    return list(made)


def init_service(kind: str, name: str, parent: Path) -> list[Path]:
    """`render` into a new folder of that name below `parent`."""
    return render(kind, name, parent / name)


def next_step(kind: str, name: str) -> str:
    """What to type after `init`, in the folder where it was typed."""
    train = "" if kind == "python" else "python train.py && "
    return f"cd {name} && {train}plimsoll up"


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))
