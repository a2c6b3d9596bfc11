"""Plimsoll's own image: deploy/docker/Dockerfile and what belongs to it, from the code that `plimsoll build` uses.

python scripts/image_files.py            says what differs, exit code 1
python scripts/image_files.py --write    writes it
docker build -f deploy/docker/Dockerfile -t plimsoll:VERSION .
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "deploy/docker"
# One image for every part: operator, controller, gateway, replicas, the fetch step.
EXTRAS = ("gs", "grpc", "hf", "jwt", "k8s", "onnx", "redis", "s3", "sklearn")
PYTHON = "3.11"  # what constraints.txt was resolved for
HEADER = "# Made by scripts/image_files.py: the extras of the image at the versions of constraints.txt.\n"


def image_files(root: Path) -> dict[str, str]:
    """Path below the repository to text."""
    from packaging.utils import canonicalize_name

    from plimsoll import __version__
    from plimsoll.app.build_lock import DISTRIBUTION, closure
    from plimsoll.backends.kubernetes.artifacts.dockerfile import ImageSpec, dockerfile, dockerignore
    from plimsoll.backends.kubernetes.names import REPLICA_COMMAND

    pinned = {}
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equal, version = line.partition("==")
        if equal:
            pinned[canonicalize_name(name)] = version
    needed = sorted(closure([f"{DISTRIBUTION}[{','.join(EXTRAS)}]"]))
    missing = [name for name in needed if name not in pinned]
    if missing:
        sys.exit(f"constraints.txt lacks {', '.join(missing)}: make upgrade")
    image = ImageSpec(
        f"python:{PYTHON}-slim",
        requirements=f"{FOLDER}/requirements.txt",
        source=True,
        builder=f"hatchling=={pinned['hatchling']}",
        labels={
            "org.opencontainers.image.title": "plimsoll",
            "org.opencontainers.image.description": "Serves AI models inside a budget",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "dev.plimsoll.version": __version__,
        },
        command=REPLICA_COMMAND,
    )
    copied = ("pyproject.toml", "README.md", "LICENSE", "src", f"{FOLDER}/requirements.txt")
    return {
        f"{FOLDER}/Dockerfile": dockerfile(image),
        # BuildKit reads it beside the Dockerfile, so that the repository's root needs none.
        f"{FOLDER}/Dockerfile.dockerignore": dockerignore(copied),
        f"{FOLDER}/requirements.txt": HEADER + "".join(f"{name}=={pinned[name]}\n" for name in needed),
    }


def main() -> None:
    different = []
    for path, text in image_files(ROOT).items():
        file = ROOT / path
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if "--write" in sys.argv[1:]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        else:
            different.append(path)
    if different:
        sys.exit(f"{', '.join(different)}: not what is made now; python scripts/image_files.py --write")


if __name__ == "__main__":
    main()
