"""Names of client certificates in one form, so that what a user writes and what a certificate says can be compared.

`CN=shop,O=Example` is RFC 4514, which allows blanks around separators and either case of an attribute's name;
`DNS:shop.example.com` and `URI:spiffe://…` are alternative names.
"""

import re

# One `type=value`: the type is a name or an OID; a backslash takes the next character with it.
_ATTRIBUTE = re.compile(r'([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)=((?:[^\\,+"<>;\x00-\x1f]|\\.)+)\Z')
_PART = re.compile(r"((?:[^\\,+]|\\.)*)([,+]|\Z)", re.DOTALL)


def canonical_subject(text: str) -> str:
    """Attribute names in upper case, no blanks around separators, DNS names in lower case. Values stay as they are:
    `Shop` and `shop` may be two clients. What is no such name comes back as it is."""
    if text.startswith("DNS:"):
        return "DNS:" + text[4:].lower()
    if text.startswith("URI:"):
        return text
    parts = name_parts(text)
    return text if parts is None else "".join(parts)


def name_parts(text: str) -> list[str] | None:
    """Each `TYPE=value` of an RFC 4514 name, in one form, with the separator after it. None: it is no such name."""
    parts: list[str] = []
    at, end = 0, False
    while not end:
        match = _PART.match(text, at)
        if match is None:
            return None
        part = match[1].strip(" ")
        if (len(part) - len(part.rstrip("\\"))) % 2:  # the blank after it is escaped, and of the value
            part += " "
        attribute = _ATTRIBUTE.match(part)
        if attribute is None:
            return None
        parts.append(f"{attribute[1].upper()}={attribute[2]}{match[2]}")
        at, end = match.end(), not match[2]
    return parts
