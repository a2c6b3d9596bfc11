"""The names in a client's certificate, as text that a Tenant can be matched with.

CN=batch-7,O=Ops       the subject, RFC 4514: the most specific part first
DNS:batch.internal     subject alternative names; URI:spiffe://… is where a mesh puts its identities
"""

import re
from collections.abc import Mapping
from typing import Any, Final

# RFC 4514 section 3. OpenSSL's other long names (emailAddress, serialNumber, …) stay as they are.
_SHORT: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_ESCAPED: Final = re.compile(r'[,+"\\<>;]')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ALTERNATIVES: Final = frozenset({"DNS", "URI"})


def peer_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """From what `ssl.SSLObject.getpeercert()` gives; () for none. The subject comes first, and is left out if empty."""
    if not certificate:
        return ()
    subject = rfc4514(certificate.get("subject", ()))
    others = [f"{kind}:{value}" for kind, value in certificate.get("subjectAltName", ()) if kind in _ALTERNATIVES]
    return tuple(dict.fromkeys([subject, *others] if subject else others))


def rfc4514(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """`subject`: relative distinguished names in the certificate's order, each a tuple of (type, value)."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escape(value)}" for kind, value in part) for part in reversed(subject)
    )


def _escape(value: str) -> str:
    """RFC 4514 section 2.4. Control characters, too: a name must not break a log's line."""
    text = _CONTROL.sub(lambda found: f"\\{ord(found[0]):02X}", _ESCAPED.sub(r"\\\g<0>", value))
    if text.startswith((" ", "#")):
        text = "\\" + text
    if text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1] + "\\ "
    return text
