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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509

from plimsoll.backends.kubernetes.operator.signing import (
    CA,
    CERTIFICATE,
    KEY,
    Data,
    bundle_of,
    ends_at,
    made_at,
    names_of,
    new_authority,
    read_bundle,
    read_pair,
    signed,
    signed_by,
)

NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"  # prepared, shown by nobody yet


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


def plan(data: Data | None, names: Sequence[str], now: float, settings: CertificateSettings | None = None) -> Step:
    """`data`: what the Secret holds, None without one. `names`: what clients call the addresses."""
    settings = settings or CertificateSettings()
    if data is None:
        return Fresh("there is none")
    try:
        shown, bundle = read_pair(data), read_bundle(data[CA])
        following = read_pair(data, NEXT_CERTIFICATE, NEXT_KEY) if NEXT_CERTIFICATE in data else None
    except (ValueError, KeyError, TypeError) as error:
        return Fresh(f"the Secret holds no usable certificate ({error or type(error).__name__})")
    missing = [name for name in names if name not in names_of(shown)]
    if missing:
        return Fresh(f"it does not name {missing[0]}")
    if not any(signed_by(shown, one) for one in bundle):
        return Fresh("its authority is not in the bundle")
    if now >= ends_at(shown):
        return Fresh("it has expired")
    if following is not None:
        if not any(signed_by(following, one) for one in bundle) or set(names) - names_of(following):
            return Prepare()
        ready = made_at(following) + settings.overlap_s
        return Promote() if now >= ready else Wait(ready)
    due = ends_at(shown) - settings.renew_left_s
    if now >= due:
        return Prepare()
    if len(bundle) > 1:
        # Shown since it was promoted, which was an overlap after it was made.
        tidy = made_at(shown) + 2 * settings.overlap_s
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
    """(authority, certificate, key), PEM. The authority's key is gone."""
    authority, signer = new_authority(now, life_s)
    certificate, key = signed(names, authority, signer, now, life_s)
    return authority, certificate, key


def own_names(namespace: str, services: Sequence[str]) -> tuple[str, ...]:
    """What the API server, the aggregator and gateways call Services of ours: `NAME.NAMESPACE.svc`, first."""
    ends = (".svc", ".svc.cluster.local", "")
    return tuple(f"{service}.{namespace}{end}" for end in ends for service in services)


# --- parts ------------------------------------------------------------------------------------------------------------


def _bundle(certificate: bytes, bundle: bytes) -> bytes:
    """The authorities of `certificate` alone."""
    leaf = x509.load_pem_x509_certificate(certificate)
    return bundle_of(one for one in read_bundle(bundle) if signed_by(leaf, one))
