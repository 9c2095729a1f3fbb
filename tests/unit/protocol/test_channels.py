"""Channel names (protocol.md 3.1, 3.3, 6.1)."""

import pytest

from node.protocol.channels import (
    ChannelKind,
    is_valid_channel,
    kind_of,
    server_to_user_channel,
    server_to_user_id,
)


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("room", ChannelKind.PUBLIC),
        ("private-room", ChannelKind.PRIVATE),
        ("presence-room", ChannelKind.PRESENCE),
        ("private-encrypted-room", ChannelKind.ENCRYPTED),
        ("cache-room", ChannelKind.CACHE),
        ("private-cache-room", ChannelKind.PRIVATE_CACHE),
        ("presence-cache-room", ChannelKind.PRESENCE_CACHE),
        ("private-encrypted-cache-room", ChannelKind.ENCRYPTED_CACHE),
        ("#server-to-user-1", ChannelKind.SERVER_TO_USER),
        ("private", ChannelKind.PUBLIC),
        ("privateroom", ChannelKind.PUBLIC),
        ("cacheroom", ChannelKind.PUBLIC),
        ("my-private-room", ChannelKind.PUBLIC),
        ("room-cache-x", ChannelKind.PUBLIC),
        ("private-encryptedx", ChannelKind.PRIVATE),
        ("Private-room", ChannelKind.PUBLIC),
    ],
)
def test_channel_has_the_kind_of_its_prefix(channel: str, kind: ChannelKind) -> None:
    """Prefixes count at the start only, with their dash (6.1)."""
    assert kind_of(channel) is kind


def test_kinds_say_what_the_table_of_the_protocol_says() -> None:
    """Guarded, with members, cached, encrypted, open for client events (6.1, 7)."""
    said = {
        kind.name: [kind.is_guarded, kind.has_members, kind.is_cache, kind.is_encrypted, kind.takes_client_events]
        for kind in ChannelKind
    }
    assert said == {
        "PUBLIC": [False, False, False, False, False],
        "PRIVATE": [True, False, False, False, True],
        "PRESENCE": [True, True, False, False, True],
        "ENCRYPTED": [True, False, False, True, False],
        "CACHE": [False, False, True, False, False],
        "PRIVATE_CACHE": [True, False, True, False, True],
        "PRESENCE_CACHE": [True, True, True, False, True],
        "ENCRYPTED_CACHE": [True, False, True, True, False],
        "SERVER_TO_USER": [False, False, False, False, False],
    }


def test_only_encrypted_kinds_are_encrypted() -> None:
    """What a trigger of several channels must not hold."""
    encrypted = {kind for kind in ChannelKind if kind.is_encrypted}
    assert encrypted == {ChannelKind.ENCRYPTED, ChannelKind.ENCRYPTED_CACHE}


@pytest.mark.parametrize(
    "name",
    ["a", "A-Z_az=@,.;09", "x" * 200, "#server-to-user-1", "#server-to-user-" + "ü" * 200, "#server-to-user-a b/*"],
)
def test_channel_name_is_valid(name: str) -> None:
    """The alphabet and length of 6.1, and users' channels of any id (3.3)."""
    assert is_valid_channel(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 201,
        "a b",
        "a\n",
        "a/b",
        "ü",
        "#room",
        "#",
        "#server-to-user-",
        "#server-to-user",
        "#server-to-user-" + "x" * 201,
        "#server-to-user-a\x00",
        "x#server-to-user-1",
        "##server-to-user-1",
    ],
)
def test_channel_name_is_invalid(name: str) -> None:
    """Characters outside the alphabet, bad lengths, and every other name with `#`."""
    assert not is_valid_channel(name)


def test_channel_limit_is_configurable_and_spares_users_channels() -> None:
    """164 is documented, 200 is what SDKs send; a user's channel is exempt (6.1)."""
    assert is_valid_channel("x" * 164, limit=164)
    assert not is_valid_channel("x" * 165, limit=164)
    assert is_valid_channel("#server-to-user-" + "x" * 200, limit=164)


@pytest.mark.parametrize("user_id", ["1", "a.b", "ü/…", "#server-to-user-1", "x" * 200])
def test_users_channel_names_its_user(user_id: str) -> None:
    """There and back."""
    assert server_to_user_id(server_to_user_channel(user_id)) == user_id


@pytest.mark.parametrize("channel", ["room", "#server-to-user-", "server-to-user-1", "#server-to-users-1"])
def test_other_channel_is_nobodys(channel: str) -> None:
    """No user behind it."""
    assert server_to_user_id(channel) is None
