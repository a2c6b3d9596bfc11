"""What `adopt` writes: the service file with its notes as comments, the model class, a request, a Dockerfile."""

import json
import textwrap

from plimsoll import __version__
from plimsoll.backends.kubernetes.install.adopting.apps import model_source, request_of
from plimsoll.backends.kubernetes.install.adopting.converting import Adopted
from plimsoll.backends.kubernetes.objects import to_yaml

_WIDTH = 116


def service_text(adopted: Adopted) -> str:
    """With the notes above it, so that whoever reads the file knows what is left to do."""
    lines = ["# Made by plimsoll adopt. What needs a person:"]
    for note in adopted.notes:
        lines += textwrap.wrap(note, _WIDTH, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False)
    return "\n".join(lines) + "\n" + to_yaml([adopted.service])


def whole_text(adopted: Adopted) -> str:
    """All objects in one text."""
    more = "---\n" + to_yaml([adopted.platform]) if adopted.platform is not None else ""
    return service_text(adopted) + more


def dockerfile(adopted: Adopted) -> str:
    """The image that ran before, with the server in it. The model class isn't: it is packed, and mounted."""
    return (
        f"# docker build -t {adopted.own_image} . && docker push {adopted.own_image}\n"
        f"FROM {adopted.image}\n"
        "USER 0\n"
        f"RUN pip install --no-cache-dir plimsoll-serve=={__version__}\n"
        "USER 65532\n"
    )


def files_of(adopted: Adopted, *, app: tuple[str, str] | None = None) -> dict[str, str]:
    """Path below one folder to text. `app`: name and source of the app's module, to lie beside the model class."""
    files = {"service.yaml": service_text(adopted), "model/model.py": model_source(adopted.name, adopted.endpoint)}
    if app is not None:
        files[f"model/{app[0]}"] = app[1]
    if adopted.endpoint is not None:
        files["request.json"] = json.dumps(request_of(adopted.endpoint)) + "\n"
    if adopted.platform is not None:
        files["platform.yaml"] = to_yaml([adopted.platform])
    if adopted.image:
        files["Dockerfile"] = dockerfile(adopted)
    return files
