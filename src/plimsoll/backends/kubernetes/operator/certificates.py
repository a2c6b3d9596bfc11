"""The certificate by which Plimsoll's own addresses are known (webhook, metrics APIs, control stream), and when it is
followed by the next one.

Each certificate has an authority of its own, whose key is thrown away once it has signed: there is no key that could
sign another. What verifiers trust (`ca.crt`) is a bundle, so that they know the next authority before anybody shows its
certificate:

    Fresh     nothing usable is there: a new pair, shown at once
    Prepare   a third of its life is left: a new pair, only its authority is published (ca.crt: both)
    Promote   `overlap_s` later, when every kubelet has brought the bundle: the new pair is shown
    Tidy      `overlap_s` after that: the old authority leaves the bundle
    Wait      until then nothing is to be done

`plan` decides, with `now` in seconds since 1970; `carried_out` makes the Secret's next data. Neither asks anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"  # prepared, shown by nobody yet

# Valid from a little before it was made: clocks of nodes differ.
_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """`overlap_s`: kubelets bring a changed ConfigMap or Secret within two minutes; an hour is enough for all."""

    life_s: float = 90 * 86400.0
    renew_left_s: float = 30 * 86400.0
    overlap_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Fresh:
    why: str


@dataclass(frozen=True, slots=True)
class Prepare:
    pass


@dataclass(frozen=True, slots=True)
class Promote:
    pass


@dataclass(frozen=True, slots=True)
class Tidy:
    pass


@dataclass(frozen=True, slots=True)
class Wait:
    until: float


Step: TypeAlias = Fresh | Prepare | Promote | Tidy | Wait
Data: TypeAlias = Mapping[str, bytes]  # a Secret's, decoded


def plan(data: Data | None, names: Sequence[str], now: float, settings: CertificateSettings | None = None) -> Step:
    """`data`: what the Secret holds, None without one. `names`: what clients call the addresses."""
    settings = settings or CertificateSettings()
    if data is None:
        return Fresh("there is none")
    try:
        shown, bundle = _leaf(data, CERTIFICATE, KEY), x509.load_pem_x509_certificates(data[CA])
        following = _leaf(data, NEXT_CERTIFICATE, NEXT_KEY) if NEXT_CERTIFICATE in data else None
    except (ValueError, KeyError, TypeError) as error:
        return Fresh(f"the Secret holds no usable certificate ({error or type(error).__name__})")
    missing = [name for name in names if name not in _names(shown)]
    if missing:
        return Fresh(f"it does not name {missing[0]}")
    if not any(_signed(shown, one) for one in bundle):
        return Fresh("its authority is not in the bundle")
    if now >= _ends(shown):
        return Fresh("it has expired")
    if following is not None:
        if not any(_signed(following, one) for one in bundle) or set(names) - _names(following):
            return Prepare()
        ready = _made(following) + settings.overlap_s
        return Promote() if now >= ready else Wait(ready)
    due = _ends(shown) - settings.renew_left_s
    if now >= due:
        return Prepare()
    if len(bundle) > 1:
        # Shown since it was promoted, which was an overlap after it was made.
        tidy = _made(shown) + 2 * settings.overlap_s
        return Tidy() if now >= tidy else Wait(min(tidy, due))
    return Wait(due)


def carried_out(
    step: Step, data: Data | None, names: Sequence[str], now: float, settings: CertificateSettings | None = None
) -> dict[str, bytes]:
    """The Secret's data after `step`, of a Secret that is as `plan` saw it."""
    settings = settings or CertificateSettings()
    if isinstance(step, Fresh):
        authority, certificate, key = issued(names, now, settings.life_s)
        return {CA: authority, CERTIFICATE: certificate, KEY: key}
    assert data is not None
    held = dict(data)
    match step:
        case Prepare():
            authority, certificate, key = issued(names, now, settings.life_s)
            held |= {NEXT_CERTIFICATE: certificate, NEXT_KEY: key, CA: _bundle(held[CERTIFICATE], held[CA]) + authority}
        case Promote():
            held |= {CERTIFICATE: held.pop(NEXT_CERTIFICATE), KEY: held.pop(NEXT_KEY)}
        case Tidy():
            held[CA] = _bundle(held[CERTIFICATE], held[CA])
        case Wait():
            pass
    return held


def issued(names: Sequence[str], now: float, life_s: float) -> tuple[bytes, bytes, bytes]:
    """(authority, certificate, key), PEM. P-256; the authority may sign nothing but leaves, and its key is gone."""
    begins = datetime.fromtimestamp(now, UTC) - _BACKDATED
    ends = datetime.fromtimestamp(now + life_s, UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"plimsoll authority {serial:x}"[:60])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(authority_name, authority_name, begins, ends, serial)
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]),
            authority_name,
            begins,
            ends,
            x509.random_serial_number(),
        )
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return authority.public_bytes(pem), leaf.public_bytes(pem), private


def own_names(namespace: str, services: Sequence[str]) -> tuple[str, ...]:
    """What the API server, the aggregator and gateways call Services of ours: `NAME.NAMESPACE.svc`, first."""
    ends = (".svc", ".svc.cluster.local", "")
    return tuple(f"{service}.{namespace}{end}" for end in ends for service in services)


# --- parts ------------------------------------------------------------------------------------------------------------


def _builder(
    subject: x509.Name, issuer: x509.Name, begins: datetime, ends: datetime, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).serial_number(serial)
    return builder.not_valid_before(begins).not_valid_after(ends)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _leaf(data: Data, certificate: str, key: str) -> x509.Certificate:
    found = x509.load_pem_x509_certificate(data[certificate])
    private = serialization.load_pem_private_key(data[key], None)
    if private.public_key() != found.public_key():
        raise ValueError(f"{key} is of another certificate than {certificate}")
    return found


def _bundle(certificate: bytes, bundle: bytes) -> bytes:
    """The authorities of `certificate` alone."""
    leaf = x509.load_pem_x509_certificate(certificate)
    kept = [one for one in x509.load_pem_x509_certificates(bundle) if _signed(leaf, one)]
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in kept)


def _signed(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    return leaf.issuer == authority.subject  # names carry a random serial: no two authorities share one


def _names(leaf: x509.Certificate) -> set[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def _made(leaf: x509.Certificate) -> float:
    return (leaf.not_valid_before_utc + _BACKDATED).timestamp()


def _ends(leaf: x509.Certificate) -> float:
    return leaf.not_valid_after_utc.timestamp()
