"""What `spec.model.uri` says, taken apart; and whether a pod has to fetch it or finds it mounted.

configmap://NAME                the ConfigMap of the service's namespace, mounted as the model's folder
configmap://NAME/model.tar.gz   one key of it, which the fetch step unpacks
file:///PATH                    a file or folder on the node or in the image
pvc://CLAIM/PATH                a file or folder in a PersistentVolumeClaim of the service's namespace, mounted
http(s)://HOST/PATH             a file; .tar, .tar.gz and .tgz are unpacked
oci://REGISTRY/NAME[:TAG]       what `plimsoll pack` pushed; the digest stands in `spec.model.digest`
s3://BUCKET/KEY, gs://BUCKET/KEY   an object, or all below the prefix when it ends in `/` or no object has that key
hf://OWNER/NAME[@REVISION][/PATH]  a repository on a model hub, or one file of it
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from plimsoll.backends.kubernetes.names import GROUP
from plimsoll.core.errors import UserError

SCHEMES = ("configmap", "file", "pvc", "http", "https", "oci", "s3", "gs", "hf")
CONFIGMAP_MOUNT = "/plimsoll/configmap"  # in the fetch step, where a ConfigMap holds an archive
PVC_MOUNT = "/plimsoll/pvc"  # in the fetch step or the replica, read-only
CREDENTIALS_MOUNT = "/plimsoll/credentials"  # in the fetch step: spec.model.secretRef's Secret
CACHE_MOUNT = "/plimsoll/cache"  # in the fetch step and the model-cache DaemonSet: the node's folder
ARCHIVE_KEY = "model.tar.gz"
MODEL_OF_LABEL = f"{GROUP}/model-of"  # on a ConfigMap that `pack` made: the service's name
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")

# The extra that brings the library, per scheme; those not named need none.
EXTRAS = {"s3": "s3", "gs": "gs", "hf": "hf"}


@dataclass(frozen=True, slots=True)
class Reference:
    """`host`: ConfigMap, claim, registry, bucket or host with port; `path`: without leading slash. `revision`: of hf,
    tag of oci."""

    uri: str
    scheme: str
    host: str
    path: str
    revision: str = ""

    @property
    def mounted(self) -> bool:
        """True where the model's folder is a mounted volume and no init step is needed."""
        return self.scheme == "configmap" and not self.path

    @property
    def claim(self) -> str:
        """The PersistentVolumeClaim that a pod must mount at PVC_MOUNT; "" for none."""
        return self.host if self.scheme == "pvc" else ""

    @property
    def configmap(self) -> str:
        return self.host if self.scheme == "configmap" else ""

    @property
    def network(self) -> bool:
        """Whether fetching goes over the network, and NetworkPolicies must let it out."""
        return self.scheme in {"http", "https", "oci", "s3", "gs", "hf"}


def parse_uri(uri: str) -> Reference:
    """Raises UserError that says what was expected."""
    if "://" not in uri:
        raise UserError(f"{uri[:200]!r} is no model URI; expected SCHEME://… with one of {', '.join(SCHEMES)}")
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise UserError(f"{uri[:200]}: unknown scheme {scheme!r}; expected one of {', '.join(SCHEMES)}")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"{scheme}://…@{parts.hostname}: no credentials in a URI; name a secret in model.secretRef")
    if scheme != "file" and not parts.netloc:
        raise UserError(f"{uri[:200]}: nothing after {scheme}://; expected {_expected(scheme)}")
    path = parts.path.lstrip("/") if scheme != "file" else parts.path
    if scheme in {"http", "https"} and parts.query:
        path = f"{path}?{parts.query}"
    return _refined(uri, scheme, parts.netloc, path)


def _refined(uri: str, scheme: str, host: str, path: str) -> Reference:
    revision = ""
    if scheme == "oci":
        name, at, digest = path.partition("@")
        path, colon, revision = name.partition(":")
        revision = digest if at else (revision if colon else "latest")
    elif scheme == "hf":
        owner, (name, *rest) = host, path.split("/")
        name, _, revision = name.partition("@")
        host, path = f"{owner}/{name}", "/".join(rest)
        if not name:
            raise UserError(f"{uri[:200]}: expected {_expected(scheme)}")
    if not path and scheme in {"http", "https", "oci", "pvc", "file"} and scheme != "pvc":
        raise UserError(f"{uri[:200]}: names no file; expected {_expected(scheme)}")
    if scheme in {"pvc", "configmap", "file"} and ".." in path.split("/"):
        raise UserError(f"{uri[:200]}: a path may not hold '..'")
    return Reference(uri, scheme, host, path, revision)


def _expected(scheme: str) -> str:
    shapes = {
        "configmap": "configmap://NAME",
        "file": "file:///PATH",
        "pvc": "pvc://CLAIM/PATH",
        "oci": "oci://REGISTRY/NAME:TAG",
        "hf": "hf://OWNER/NAME",
        "s3": "s3://BUCKET/KEY",
        "gs": "gs://BUCKET/KEY",
    }
    return shapes.get(scheme, f"{scheme}://HOST/PATH")


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine itself."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
