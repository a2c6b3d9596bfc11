"""Subjects of client certificates, in one form: `CN=shop,O=Example` (RFC 4514), `DNS:shop.example.com`, `URI:spiffe://…`."""

import re
from functools import lru_cache

# A comma or semicolon that no backslash escapes, with the blanks around it (RFC 4514 allows them on input).
_SEPARATOR = re.compile(r"(?<!\\)((?:\\\\)*)\s*[,;]\s*")
_NAME = re.compile(r"(^|,|\+)\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*")


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """Attribute names in upper case, no blanks around separators; DNS names in lower case. Values stay as they are: one
    directory's CN is another's cn, but `Shop` and `shop` may be two clients."""
    text = text.strip()
    if text[:4].upper() == "DNS:":
        return "DNS:" + text[4:].strip().lower().rstrip(".")
    if text[:4].upper() == "URI:":
        return "URI:" + text[4:].strip()
    text = _SEPARATOR.sub(r"\1,", text)
    return _NAME.sub(lambda match: f"{match[1]}{match[2].upper()}=", text)
