"""The first request of a client (protocol.md 1.1)."""

import pytest

from node.protocol.errors import FatalError
from node.protocol.handshake import Handshake, origin_allowed, parse_handshake


@pytest.mark.parametrize(
    ("query", "protocol", "client", "version"),
    [
        ("protocol=7&client=js&version=8.6.0&flash=false", 7, "js", "8.6.0"),
        ("client=swift&version=1&protocol=7", 7, "swift", "1"),
        ("client=java-client&protocol=5&version=2.4", 5, "java-client", "2.4"),
        ("protocol=5&client=pusher-dotnet-client&version=%31%2E0", 5, "pusher-dotnet-client", "1.0"),
        ("protocol=4", 4, "", ""),
        ("protocol=6&&=&x", 6, "", ""),
        ("protocol=9&protocol=7", 7, "", ""),
    ],
)
def test_handshake_takes_what_real_clients_send(query: str, protocol: int, client: str, version: str) -> None:
    """Any order, unknown parameters, protocols 4 to 7."""
    assert parse_handshake("/app/key", query) == Handshake("key", protocol, client, version)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", 4008),
        ("client=js&version=8.6.0", 4008),
        ("protocol=", 4008),
        ("protocol=x", 4006),
        ("protocol=7.0", 4006),
        ("protocol=-7", 4006),
        ("protocol=%D9%A7", 4006),
        ("protocol=3", 4007),
        ("protocol=8", 4007),
        ("protocol=" + "9" * 5000, 4007),
    ],
)
def test_handshake_is_refused_when_the_protocol_does_not_fit(query: str, code: int) -> None:
    """Missing, no integer, unsupported: one code each."""
    with pytest.raises(FatalError) as caught:
        parse_handshake("/app/key", query)
    assert caught.value.code == code
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "path", ["", "/", "/app", "/app/", "/app/k/x", "/app/k/", "/apps/k", "app/k", "//app/k", "/x/app/k"]
)
def test_handshake_is_refused_when_the_path_is_another(path: str) -> None:
    """4005 comes before everything about the protocol."""
    with pytest.raises(FatalError) as caught:
        parse_handshake(path, "")
    assert caught.value.code == 4005


def test_handshake_decodes_the_key_once() -> None:
    """A path is percent-encoded as received."""
    assert parse_handshake("/app/a%2520b", "protocol=7").key == "a%20b"


@pytest.mark.parametrize(("path", "prefix"), [("/ws/app/k", "/ws"), ("/a/b/app/k", "/a/b/"), ("/app/k", "/ws")])
def test_handshake_strips_the_prefix_when_it_is_there(path: str, prefix: str) -> None:
    """Proxies pass a prefix on, or strip it."""
    assert parse_handshake(path, "protocol=7", prefix).key == "k"


@pytest.mark.parametrize(("path", "prefix"), [("/wsx/app/k", "/ws"), ("/ws", "/ws"), ("/ws/app/k", "")])
def test_handshake_is_refused_when_the_prefix_does_not_end_at_a_segment(path: str, prefix: str) -> None:
    """A prefix is whole segments."""
    with pytest.raises(FatalError):
        parse_handshake(path, "protocol=7", prefix)


def test_handshake_cuts_what_a_client_says_of_itself() -> None:
    """It may end in a log line."""
    handshake = parse_handshake("/app/k", f"protocol=7&client={'x' * 5000}")
    assert len(handshake.client) == 100


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", []),
        (None, ["https://a.example.com"]),
        ("null", ["*"]),
        ("https://a.example.com", ["*"]),
        ("https://a.example.com", ["https://b.example.com", "https://a.example.com"]),
        ("https://A.example.com", ["https://a.Example.com"]),
        ("https://a.b.example.com", ["https://*.example.com"]),
        ("http://localhost:3000", ["http://localhost:*"]),
    ],
)
def test_origin_is_allowed(origin: str | None, allowed: list[str]) -> None:
    """Exactly, by a pattern, by an empty list, or because no browser is involved."""
    assert origin_allowed(origin, allowed)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://evil.com", ["https://*.example.com"]),
        ("https://example.com", ["https://*.example.com"]),
        ("https://aXexample.com", ["https://a.example.com"]),
        ("https://a.example.com.evil.com", ["https://*.example.com"]),
        ("https://evil.com/.example.com", ["https://*.example.com"]),
        ("http://a.example.com", ["https://a.example.com"]),
        ("https://a.example.com:8443", ["https://a.example.com"]),
        ("null", ["https://*"]),
        ("", ["https://a.example.com"]),
    ],
)
def test_origin_is_not_allowed(origin: str, allowed: list[str]) -> None:
    """A pattern covers the whole origin, dots are dots, and `*` crosses no slash."""
    assert not origin_allowed(origin, allowed)
