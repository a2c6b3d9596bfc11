"""API keys and the names of certificates."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.api_keys import new_key
from plimsoll.core.subjects import canonical_subject, name_parts


def test_a_key_is_its_bytes_and_its_digest_is_of_its_text():
    key, digest = new_key(bytes(range(32)))
    assert key == "plm_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert digest == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert new_key(bytes(32)) != new_key(bytes(31) + b"\x01")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_fewer_bits_is_not_made(size):
    with pytest.raises(ValueError, match="32 random bytes"):
        new_key(bytes(size))


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("CN=shop,O=Example", "CN=shop,O=Example"),
        ("cn=shop, o=Example", "CN=shop,O=Example"),
        (" cn=shop+ou=web , O=Ex ample ", "CN=shop+OU=web,O=Ex ample"),
        (r"CN=a\, b,O=c", r"CN=a\, b,O=c"),
        ("CN=a\\ , O=c", "CN=a\\ ,O=c"),  # the blank is of the value
        (r"CN=a\\, O=c", r"CN=a\\,O=c"),  # the backslash is of the value, the comma is not
        ("1.2.3=x,CN=y", "1.2.3=x,CN=y"),
        ("DNS:Shop.Example.com", "DNS:shop.example.com"),
        ("URI:spiffe://Example/shop", "URI:spiffe://Example/shop"),
        ("CN=a;O=b", "CN=a;O=b"),  # no name: as it is, and equal to nothing else
        ("nonsense", "nonsense"),
        ("CN=a,", "CN=a,"),
        ("", ""),
    ],
)
def test_one_form_of_a_subject(written, canonical):
    assert canonical_subject(written) == canonical
    assert canonical_subject(canonical) == canonical


@given(st.text(alphabet=' \\,+=;"cnO1.:aZ\n', max_size=24))
def test_the_one_form_of_a_name_is_a_name_and_its_own_form(text):
    parts = name_parts(text)
    if parts is None:
        assert text.startswith("DNS:") or canonical_subject(text) == text
    else:
        assert name_parts(canonical_subject(text)) == parts
