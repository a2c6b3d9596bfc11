"""X.509 for our own addresses: authorities, what they sign, and what a PEM says. P-256 throughout; nobody is asked, and
`now` is seconds since 1970."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

Data: TypeAlias = Mapping[str, bytes]  # a Secret's, decoded

# Valid from a little before it was made: clocks of nodes differ.
BACKDATED = timedelta(minutes=5)
_PEM = serialization.Encoding.PEM


def new_authority(now: float, life_s: float) -> tuple[bytes, bytes]:
    """(certificate, key), PEM. It may sign nothing but leaves."""
    begins, ends = _validity(now, life_s)
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"plimsoll authority {serial:x}"[:60])])
    made = (
        _builder(name, name, begins, ends, serial)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(_PEM), _private(key)


def signed(
    names: Sequence[str], authority: bytes, signer: bytes, now: float, life_s: float, usage: ObjectIdentifier = SERVER
) -> tuple[bytes, bytes]:
    """(certificate, key), PEM, for `names`; it never outlives its authority. `usage`: SERVER or CLIENT, and it is good
    for nothing else."""
    issuer = x509.load_pem_x509_certificate(authority)
    issuer_key = serialization.load_pem_private_key(signer, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    begins, ends = _validity(now, life_s)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    serial = x509.random_serial_number()
    leaf = (
        _builder(subject, issuer.subject, begins, min(ends, issuer.not_valid_after_utc), serial)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return leaf.public_bytes(_PEM), _private(key)


# --- what a PEM says --------------------------------------------------------------------------------------------------


def read_pair(data: Data, certificate: str = CERTIFICATE, key: str = KEY) -> x509.Certificate:
    """Raises ValueError, TypeError or KeyError where the two don't belong together."""
    found = x509.load_pem_x509_certificate(data[certificate])
    private = serialization.load_pem_private_key(data[key], None)
    if private.public_key() != found.public_key():
        raise ValueError(f"{key} is of another certificate than {certificate}")
    return found


def read_bundle(pem: bytes) -> list[x509.Certificate]:
    """Raises ValueError where there is none."""
    return x509.load_pem_x509_certificates(pem)


def bundle_of(authorities: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(_PEM) for one in authorities)


def signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    return leaf.issuer == authority.subject  # names carry a random serial: no two authorities share one


def names_of(leaf: x509.Certificate) -> set[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def made_at(one: x509.Certificate) -> float:
    return (one.not_valid_before_utc + BACKDATED).timestamp()


def ends_at(one: x509.Certificate) -> float:
    return one.not_valid_after_utc.timestamp()


# --- parts ------------------------------------------------------------------------------------------------------------


def _validity(now: float, life_s: float) -> tuple[datetime, datetime]:
    return datetime.fromtimestamp(now, UTC) - BACKDATED, datetime.fromtimestamp(now + life_s, UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, begins: datetime, ends: datetime, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).serial_number(serial)
    return builder.not_valid_before(begins).not_valid_after(ends)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


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
