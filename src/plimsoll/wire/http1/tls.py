"""TLS: what the files must hold, the context made of them, and a new one when they change.

    tls = TlsContext(TlsSettings("cert.pem", "key.pem", client_ca_file="clients.pem"))   # HostError says what to mend
    tls.refresh()   # each second, off the loop: True when the files have changed and the new ones hold

A context is never changed, only replaced: a client CA can't be taken out of an OpenSSL store, and tickets issued under
the old context must not open the new one. Handshakes that begin after the swap use the new context.
"""

import logging
import os
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from plimsoll.core.errors import HostError

_log = logging.getLogger(__name__)

# TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2). TLS 1.3 has no others.
_CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_QUIET_S: Final = 10.0
_TRIES: Final = 3  # readings of files that change while they are read

_Stamp = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """PEM files. `client_ca_file`: who may sign clients' certificates; with it a client must show one, unless
    `require_client_cert` is false: then one that is shown must be good, and whoever shows none has no name."""

    cert_file: str  # the certificate, then the chain that leads to a root
    key_file: str
    client_ca_file: str | None = None
    require_client_cert: bool = True
    client_ca_may_come: bool = False  # as long as its file isn't there, nobody is asked for one
    handshake_timeout_s: float = 10.0
    check_s: float = 1.0  # how often the files are looked at

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(one for one in (self.cert_file, self.key_file, self.client_ca_file) if one is not None)

    def make(self) -> ssl.SSLContext:
        return make_context(self)


@dataclass(frozen=True, slots=True)
class ClientTlsSettings:
    """PEM files of whoever connects: who may have signed the peer's certificate, and the one it shows of its own
    ("": none)."""

    ca_file: str
    cert_file: str = ""
    key_file: str = ""
    check_s: float = 1.0

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(one for one in (self.ca_file, self.cert_file, self.key_file) if one)

    def make(self) -> ssl.SSLContext:
        return make_client_context(self)


class _Files(Protocol):
    @property
    def files(self) -> tuple[str, ...]: ...

    def make(self) -> ssl.SSLContext: ...


_Settings = TypeVar("_Settings", bound=_Files)


class Renewed(Generic[_Settings]):
    """A context that follows its files: `current` is what a handshake that begins now uses."""

    def __init__(self, settings: _Settings) -> None:
        """Raises HostError, naming the file and the remedy."""
        self.settings = settings
        self._stamp, self.current = self._read()
        self._doubted: _Stamp | None = None

    def refresh(self) -> bool:
        """Reads the files anew where they have changed. Blocks for the disk. What is broken twice in a row (who writes
        file after file may be in between) is logged, and the old certificate stays; the next change is tried again."""
        stamp = _stamp(self.settings.files)
        if stamp == self._stamp:
            self._doubted = None
            return False
        try:
            self._stamp, self.current = self._read()
        except Exception as error:  # whatever it is, the next look must come
            if stamp != self._doubted:
                self._doubted = stamp
                return False
            self._stamp = stamp
            _log.error("new TLS files refused, the old ones stay in use: %s", error)
            return False
        _log.info("TLS files read anew", extra={"file": self.settings.files[0]})
        return True

    def _read(self) -> tuple[_Stamp, ssl.SSLContext]:
        """What is there now, and how it looked before it was read: a change meanwhile is seen by the next look."""
        for left in reversed(range(_TRIES)):
            stamp = _stamp(self.settings.files)
            try:
                return stamp, self.settings.make()
            except HostError:
                if not left or _stamp(self.settings.files) == stamp:
                    raise
        raise AssertionError("the last try returns or raises")


ClientTls = Renewed[ClientTlsSettings]


class TlsContext(Renewed[TlsSettings]):
    """A listener's."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises HostError, naming the file and the remedy."""
        super().__init__(settings)
        self.failures: Counter[str] = Counter()  # handshakes, by OpenSSL's reason or TIMEOUT
        self._said: dict[str, float] = {}

    def failed(self, reason: str, now: float) -> None:
        """A handshake did. Logged once each 10 s a reason: scanners make thousands. `now`: seconds of any clock."""
        self.failures[reason] += 1
        if now - self._said.get(reason, -_QUIET_S) >= _QUIET_S:
            self._said[reason] = now
            text = reason.replace("_", " ").lower()
            _log.warning("TLS handshake failed: %s", text, extra={"so_far": self.failures[reason]})


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """A server's context. Raises HostError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _own(context, settings.cert_file, settings.key_file)
    awaited = settings.client_ca_may_come and not os.path.exists(settings.client_ca_file or "")
    if settings.client_ca_file is not None and not awaited:
        _trust(context, settings.client_ca_file, settings.require_client_cert)
    return context


def make_client_context(settings: ClientTlsSettings) -> ssl.SSLContext:
    """Of one who connects: the peer's certificate must be signed by the CA and hold the name asked for. Raises
    HostError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    _load_ca(context, settings.ca_file, "CA")
    if settings.cert_file:
        _own(context, settings.cert_file, settings.key_file)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _own(context: ssl.SSLContext, cert: str, key: str) -> None:
    cert_at, key_at = _of_one_moment(cert, key)
    if b"-----BEGIN CERTIFICATE-----" not in _read(cert, "certificate", cert_at):
        raise HostError(
            f"the TLS certificate {cert} holds no PEM certificate; it must begin -----BEGIN CERTIFICATE-----"
        )
    text = _read(key, "key", key_at)
    if b"PRIVATE KEY-----" not in text:
        raise HostError(f"the TLS key {key} holds no PEM private key; give the key that belongs to {cert}")
    try:
        context.load_cert_chain(cert_at, key_at, password=_no_password(key))
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise HostError(f"the TLS key {key} does not belong to the certificate {cert}; give the pair") from error
        raise HostError(f"the TLS files {cert} and {key} can't be used: {_reason(error)}; write them anew") from error
    except OSError as error:  # gone since we looked
        raise HostError(f"the TLS files {cert} and {key} can't be read: {error.strerror}") from error


def _trust(context: ssl.SSLContext, path: str, required: bool) -> None:
    _load_ca(context, path, "client CA")
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    # Each connection shows its certificate: a resumed session is not checked again, not even for having expired.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def _load_ca(context: ssl.SSLContext, path: str, what: str) -> None:
    _read(path, what)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise HostError(
            f"the TLS {what} {path} can't be used: {_reason(error)}; it must hold PEM certificates"
        ) from error


def _of_one_moment(cert: str, key: str) -> tuple[str, str]:
    """Where the two lie now. A mounted Secret's files are links through `..data`, which is swapped as a whole: followed
    one after the other, the two could be of two certificates. So that link is followed once, for both."""
    folder = os.path.dirname(cert)
    data = os.path.join(folder, "..data")
    if os.path.dirname(key) != folder or not os.path.islink(data):
        return cert, key
    now = os.path.realpath(data)

    def at(path: str) -> str:
        try:
            inside = os.readlink(path).partition("..data/")
        except OSError:  # no link, or gone
            return path
        return os.path.join(now, inside[2]) if inside[:2] == ("", "..data/") else path

    return at(cert), at(key)


def _read(path: str, what: str, at: str = "") -> bytes:
    """`at`: where it lies, if that isn't `path`."""
    try:
        with open(at or path, "rb") as file:
            return file.read(4 * 2**20)
    except OSError as error:
        raise HostError(f"the TLS {what} {path} can't be read: {error.strerror}; name a PEM file") from error


def _no_password(key: str) -> Callable[[], str]:
    """Asked for only where the key is encrypted. Without it OpenSSL would ask the terminal."""

    def refuse() -> str:
        raise HostError(f"the TLS key {key} is encrypted; decrypt it: openssl pkey -in {key} -out plain.pem")

    return refuse


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()


def _stamp(paths: tuple[str, ...]) -> _Stamp:
    """Device, inode, time and size of each file, links followed; None where there is none."""
    found: list[tuple[int, int, int, int] | None] = []
    for path in paths:
        try:
            stat = os.stat(path)
            found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
