"""A repository on a model hub (`plimsoll-serve[hf]`): the hub's own library says what there is and at which commit; the
bytes come over the same resumed downloads as everything else. HF_ENDPOINT names another hub."""

from urllib.parse import quote

from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.download import Blob
from plimsoll.backends.kubernetes.artifacts.fetching.sources import Source, hex_of, web_blob
from plimsoll.backends.kubernetes.artifacts.listing import is_safe_path
from plimsoll.backends.kubernetes.artifacts.references import ARCHIVE_SUFFIXES, Reference
from plimsoll.backends.kubernetes.artifacts.web import Refused, Unreachable, Web
from plimsoll.core.errors import HostError, UserError


def hub_source(reference: Reference, digest: str, credentials: Credentials, web: Web) -> Source:
    """Raises Refused (401, 403, 404), Unreachable, and HostError without the extra."""
    try:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise HostError("hf:// needs a library that isn't installed: pip install 'plimsoll-serve[hf]'") from None
    token = credentials.get("HF_TOKEN", "token") or get_token() or ""
    api = HfApi(endpoint=credentials.get("HF_ENDPOINT") or None, token=token or False)
    try:
        info = api.model_info(reference.host, revision=reference.revision or None, files_metadata=True, timeout=30)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise Refused(
            f"{reference.uri}: no such repository or revision, or not for this token; give model.secretRef with the "
            "key token",
            status=404,
        ) from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        words = " ".join(str(error).split())[:300]
        if status in {401, 403}:
            raise Refused(
                f"{reference.uri}: {words}; give model.secretRef with the key token", status=status
            ) from error
        raise Unreachable(f"{reference.uri}: {words}") from error
    except Exception as error:  # its HTTP client's own errors: no connection, no name, timeouts
        raise Unreachable(f"{reference.uri}: {' '.join(str(error).split())[:300]}") from error
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    blobs: list[Blob] = []
    for file in info.siblings or []:
        name = _within(file.rfilename, reference.path)
        if not name or any(part.startswith(".") for part in name.split("/")):
            continue
        if not is_safe_path(name):
            raise UserError(f"{reference.uri} holds {name[:200]!r}, which leads out of the model's folder")
        url = f"{api.endpoint}/{reference.host}/resolve/{info.sha}/{quote(file.rfilename)}"
        sha256 = file.lfs.sha256 if file.lfs is not None else ""
        version = f"{info.sha}"
        blob = web_blob(web, url, name, file.size, headers=headers, etag="", sha256=sha256)
        blobs.append(Blob(blob.path, blob.size, blob.open, blob.sha256, version))
    if not blobs:
        raise Refused(f"{reference.uri}: no such file in the repository", status=404)
    single = len(blobs) == 1 and reference.path.rpartition("/")[2] == blobs[0].path and bool(reference.path)
    if single:
        only = blobs[0]
        sha256 = hex_of(digest) or only.sha256
        unpack = only.path.endswith(ARCHIVE_SUFFIXES)
        blobs = [Blob(only.path, only.size, only.open, sha256, only.version, unpack)]
    return Source(tuple(sorted(blobs, key=lambda blob: blob.path)), single=single)


def _within(name: str, path: str) -> str:
    """The name in the model's folder of a file of the repository; "" where it is not asked for."""
    if not path or name == path:
        return name if not path else name.rpartition("/")[2]
    return name.removeprefix(f"{path.rstrip('/')}/") if name.startswith(f"{path.rstrip('/')}/") else ""
