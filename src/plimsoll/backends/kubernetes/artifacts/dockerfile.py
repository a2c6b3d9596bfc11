"""The text of a Dockerfile for replicas, and for Plimsoll's own image: two stages, pinned, without root.

Layers in the order in which they change: the base, the packages, Plimsoll, the model. Nothing of the build stage (pip's
cache, compilers) reaches the image; what is written at run time goes to mounted volumes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

USER = 65532  # a number, so that the kubelet can see that it isn't root
IMAGE_MODEL_DIR = "/opt/model"
IMAGE_CODE_DIR = "/opt/app"
_VENV = "/opt/venv"
_BYTECODE = (
    "/opt/bytecode"  # a tree of its own: a base image's standard library has none, and nobody writes there later
)
# Held to be right whatever the files' times are: images are built, pushed and unpacked with others. What can't be
# compiled (packages carry templates) is none of ours.
_COMPILE = (
    f"PYTHONPYCACHEPREFIX={_BYTECODE} {_VENV}/bin/python -m compileall -qq -f --invalidation-mode unchecked-hash %s"
    " || true"
)
_STDLIB = '"$(python -c \'import sysconfig; print(sysconfig.get_path("stdlib"))\')"'
_PLIMSOLL = f"{_VENV}/lib/python3.*/site-packages/plimsoll"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """`base`: with a Python of the version that `requirements` were chosen for. `hashed`: each requirement has its
    SHA-256. `wheels`: the context holds Plimsoll as a wheel; `source`: its source tree is the context, `builder` the
    pinned build backend. `model`, `code`: whether the context has these folders."""

    base: str
    requirements: str = "requirements.txt"
    hashed: bool = False
    wheels: bool = False
    source: bool = False
    builder: str = ""
    model: bool = False
    code: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()


def dockerfile(image: ImageSpec) -> str:
    """Same input, same text."""
    return "\n".join([*_build_stage(image), "", *_final_stage(image), ""])


def _build_stage(image: ImageSpec) -> list[str]:
    pip = f"{_VENV}/bin/pip install --no-compile"
    lines = [
        "# Made by Plimsoll; made anew, it is overwritten.",
        f"ARG BASE={image.base}",
        "FROM ${BASE} AS build",
        "ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore",
        f"RUN python -m venv {_VENV}",
        "WORKDIR /build",
        f"COPY {image.requirements} requirements.txt",
        f"RUN {pip} {'--require-hashes ' if image.hashed else ''}-r requirements.txt",
        f"RUN {_COMPILE % f'{_STDLIB} {_VENV}/lib'}",
    ]
    if image.source:
        lines += [
            "COPY pyproject.toml README.md LICENSE ./",
            "COPY src src",
            # In an environment of its own: what builds the wheel is no part of the image.
            f"RUN python -m venv /opt/builder && /opt/builder/bin/pip install {image.builder} \\",
            "    && /opt/builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \\",
            f"    && {pip} --no-deps --no-index wheels/*.whl",
        ]
    elif image.wheels:
        lines += ["COPY wheels wheels", f"RUN {pip} --no-deps --no-index wheels/*.whl"]
    if image.source or image.wheels:
        lines.append(f"RUN {_COMPILE % _PLIMSOLL}")
    return lines


def _final_stage(image: ImageSpec) -> list[str]:
    lines = ["FROM ${BASE}"]
    lines += [f"LABEL {key}={json.dumps(value)}" for key, value in sorted(image.labels.items())]
    environment = {"PATH": f"{_VENV}/bin:$PATH", "PYTHONUNBUFFERED": "1", "HOME": "/tmp"}
    environment["PYTHONPYCACHEPREFIX"] = _BYTECODE
    if image.code:
        environment["PYTHONPATH"] = IMAGE_CODE_DIR
    lines.append("ENV " + " ".join(f"{key}={value}" for key, value in environment.items()))
    lines += [f"COPY --from=build {path} {path}" for path in (_VENV, _BYTECODE)]
    if image.code:
        lines.append(f"COPY app {IMAGE_CODE_DIR}")
    if image.model:
        lines.append(f"COPY model {IMAGE_MODEL_DIR}")
    lines += [
        "WORKDIR /tmp",
        f"USER {USER}:{USER}",
        "EXPOSE 8080 9090",
        "HEALTHCHECK NONE",  # the kubelet's probes look; a second judge would only disagree
        f"CMD {json.dumps(list(image.command))}",
    ]
    return lines


def dockerignore(paths: tuple[str, ...]) -> str:
    """Nothing but what the Dockerfile copies, so that a file left beside it doesn't change the context."""
    return "\n".join(["*", *(f"!{path}" for path in paths), "**/__pycache__", "**/*.pyc", ""])
