"""Signatures of sign-ins and subscriptions (protocol.md 1.5, 2.2, 6.2)."""

import hmac

import pytest

from node.protocol.errors import ProtocolError
from node.protocol.signatures import channel_string, sign, signer_of, user_string, verify_signature
from tests.unit.protocol.wire import KEY, SECRET

USER_TEXT = '1234.1234::user::{"id":"12345"}'
USER_DIGEST = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (user_string("1234.1234", '{"id":"12345"}'), USER_DIGEST),
        (
            channel_string("1234.1234", "private-foobar", None),
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        ),
        (
            channel_string("1234.1234", "presence-foobar", '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        ),
    ],
)
def test_signature_is_that_of_the_published_vectors(text: str, digest: str) -> None:
    """The vectors of 2.2 and 6.2."""
    assert sign(SECRET, text) == digest
    verify_signature(f"{KEY}:{digest}", text, KEY, [SECRET])


def test_channel_string_keeps_the_colon_when_channel_data_is_empty() -> None:
    """An empty `channel_data` and none are signed differently (6.2)."""
    assert channel_string("1.2", "private-c", "") == "1.2:private-c:"
    assert channel_string("1.2", "private-c", None) == "1.2:private-c"


def test_signature_is_accepted_under_any_secret_of_the_app() -> None:
    """Secrets are rotated with both in place."""
    verify_signature(f"{KEY}:{USER_DIGEST}", USER_TEXT, KEY, ["new", SECRET])


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200])
def test_signature_is_hmac_whatever_the_length_of_the_secret(length: int) -> None:
    """Secrets longer than a block of the hash are hashed first (RFC 2104 2)."""
    secret = "s" * length
    signer = signer_of((secret,))
    assert signer.is_signed(hmac.new(secret.encode(), b"text", "sha256").hexdigest(), "text")
    assert not signer.is_signed(hmac.new(secret.encode(), b"other", "sha256").hexdigest(), "text")


def test_signature_is_of_the_exact_bytes_when_the_text_is_not_ascii() -> None:
    """UTF-8, whatever the characters."""
    text = user_string("1.2", '{"id":"ü/…"}')
    verify_signature(f"k:{sign('ß', text)}", text, "k", ["ß"])


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ("", "Invalid format: auth must have the format key:signature"),
        (USER_DIGEST, "Invalid format: auth must have the format key:signature"),
        (f"other:{USER_DIGEST}", "Invalid key in subscription auth data: 'other'"),
        (f":{USER_DIGEST}", "Invalid key in subscription auth data: ''"),
        (
            f"{KEY}:bad",
            f"Invalid signature: Expected HMAC SHA256 hex digest of {USER_TEXT}, but got bad",
        ),
    ],
)
def test_auth_is_refused_with_the_observed_text(auth: str, message: str) -> None:
    """The texts of 1.5, with 4009."""
    with pytest.raises(ProtocolError) as caught:
        verify_signature(auth, USER_TEXT, KEY, [SECRET])
    assert (caught.value.code, caught.value.message) == (4009, message)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        USER_DIGEST[:-1],
        USER_DIGEST + "0",
        USER_DIGEST.upper(),
        f" {USER_DIGEST}",
        "é" * 64,
        "\ud800" * 64,
        f"{USER_DIGEST}:x",
    ],
)
def test_auth_is_refused_when_the_signature_differs_at_all(signature: str) -> None:
    """Wrong length, case, characters that are not ASCII: all are just invalid, and no digest comes back."""
    with pytest.raises(ProtocolError) as caught:
        verify_signature(f"{KEY}:{signature}", USER_TEXT, KEY, [SECRET])
    assert caught.value.code == 4009
    if USER_DIGEST not in signature:
        assert USER_DIGEST not in caught.value.message


def test_auth_is_refused_when_the_app_has_no_secret() -> None:
    """Nothing verifies without a secret."""
    with pytest.raises(ProtocolError):
        verify_signature(f"{KEY}:{USER_DIGEST}", USER_TEXT, KEY, [])


def test_refusal_is_bounded_when_the_client_sent_very_much() -> None:
    """What is repeated is cut."""
    with pytest.raises(ProtocolError) as caught:
        verify_signature(f"{KEY}:{'s' * 100_000}", "t" * 100_000, KEY, [SECRET])
    assert len(caught.value.message) < 2200


@pytest.mark.parametrize("secrets", [(), ("a",), ("a", "ß" * 100)])
def test_signer_finds_the_signatures_of_exactly_its_secrets(secrets: tuple[str, ...]) -> None:
    """As often as it is asked: a digest does not spoil the next one."""
    signer = signer_of(secrets)
    for secret in ("a", "ß" * 100, "other"):
        for text in ("one", "two", ""):
            assert signer.is_signed(sign(secret, text), text) == (secret in secrets)
