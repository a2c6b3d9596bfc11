"""Certificates for tests, made by the openssl command: an authority, servers and clients that it signs.

ca = Authority(folder, "ca")
cert, key = ca.server("server")
cert, key = ca.client("alice", "/O=Ops/CN=alice", "DNS:alice.internal,URI:spiffe://ops/alice")
"""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from plimsoll.wire.http1 import TlsSettings


def openssl(*args):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name):
        self.folder = Path(folder)
        self.name = name
        self.cert, self.key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert,
        )  # fmt: skip

    def sign(self, name, subject, names, usage, days=30):
        """Returns (certificate file, key file)."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else ""))
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8",
            "-subj", subject, "-keyout", key, "-out", request,
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
            "-days", str(days), "-extfile", extensions, "-out", cert,
        )  # fmt: skip
        return cert, key

    def server(self, name):
        return self.sign(name, f"/CN={name}", "DNS:localhost,IP:127.0.0.1", "serverAuth")

    def client(self, name, subject=None, names="", days=30):
        return self.sign(name, subject or f"/CN={name}", names, "clientAuth", days)


def client_context(ca=None, pair=None, *, version=None):
    """What a client that trusts `ca` (a file; None: everybody) and shows `pair` uses."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pair is not None:
        context.load_cert_chain(*map(str, pair))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Mounted:
    """Files as Kubernetes mounts a secret: names that lead through one link, which is swapped."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        folder.mkdir(exist_ok=True)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (folder / name).symlink_to(f"..data/{name}")

    def put(self, pair, ca, *, key=None):
        self.count += 1
        version = self.folder / f"v{self.count}"
        version.mkdir()
        for name, content in (("tls.crt", pair[0]), ("tls.key", key or pair[1]), ("ca.crt", ca.cert)):
            (version / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        link = self.folder / "..new"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")
        return self

    def settings(self, *, ca=True):
        paths = [str(self.folder / name) for name in ("tls.crt", "tls.key", "ca.crt")]
        return TlsSettings(*paths[:2], paths[2] if ca else None, check_s=0.01)
