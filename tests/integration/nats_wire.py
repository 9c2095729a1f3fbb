"""NATS in raw bytes: what a test says on the bus in a node's place, and the signed names that NATS can ask for."""

import base64
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping

import nkeys
import trio

from tests.processes import NatsServer


async def publish(server: NatsServer, subject: str, payload: bytes) -> None:
    """Publish one message; returns when the server has it."""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            head = f'CONNECT {{"verbose": false}}\r\nPUB {subject} {len(payload)}\r\n'
            await stream.send_all(head.encode() + payload + b"\r\nPING\r\n")
            heard = b""
            while b"PONG\r\n" not in heard:
                chunk = await stream.receive_some(4096)
                assert chunk, heard
                heard += chunk
            assert b"-ERR" not in heard, heard


async def converse(
    server: NatsServer, user: str, password: str, *commands: str, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> bytes:
    """Give commands to NATS as a user, let something happen, and return all that NATS said until then."""
    options = json.dumps({"verbose": False, "user": user, "pass": password})
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all("\r\n".join((f"CONNECT {options}", *commands, "PING", "")).encode())
        heard = await _hear_pongs(stream, b"", 1)
        if meanwhile is not None:
            await meanwhile()
        await stream.send_all(b"PING\r\n")
        return await _hear_pongs(stream, heard, 2)


async def _hear_pongs(stream: trio.SocketStream, heard: bytes, count: int) -> bytes:
    with trio.fail_after(10):
        while heard.count(b"PONG\r\n") < count:
            chunk = await stream.receive_some(65536)
            assert chunk, heard
            heard += chunk
    return heard


class Identity:
    """An nkey pair, and what it vouches for."""

    def __init__(self, prefix: int) -> None:
        """`prefix` is one of nkeys' PREFIX_BYTE_OPERATOR, _ACCOUNT and _USER."""
        self.seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public: str = self._pair.public_key.decode()

    def vouch_for(self, subject: "Identity", kind: str, claims: Mapping[str, object] | None = None) -> str:
        """A JWT that says what `subject` is: operator, account or user."""
        body = {
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **(claims or {})},
        }
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        signed = f"{_encode({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encode(body)}"
        return f"{signed}.{_base64url(self._pair.sign(signed.encode()))}"


def credentials_text(user: Identity, jwt: str) -> str:
    """A credentials file, as NATS' own tools write it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )


def _encode(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
