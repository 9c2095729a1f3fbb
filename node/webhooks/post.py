"""One request to a webhook: the address looked up and looked at, the bytes sent, the answer's status heard.

Rules for whoever edits this file: the connection goes to the very address that was found to be allowed (the name stands in
Host and in TLS only, so that a name that changes its address in between gains nothing); redirects are not followed; no proxy
of the environment is used; of the answer nothing is believed but its status; nothing here logs.
"""

import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from typing import Protocol

import httpx
import trio

from node.config.keys import ConfigError
from node.config.webhooks import WebhookSettings
from node.webhooks.addresses import is_public

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_USER_AGENT = f"usher/{version('usher-realtime')}"
_ANSWER_BYTES = 65_536  # of an answer are read, so that its connection can be used again
_ANSWER_TIMEOUT = 0.5  # seconds for that
_IDLE_TIMEOUT = 30.0  # seconds that a connection is kept for the next request


class Result(StrEnum):
    """How a request ended."""

    SUCCESS = "success"
    STATUS = "status"
    REDIRECT = "redirect"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The node's own refusal: not https, or not a public address."""


class Poster(Protocol):
    """The way to one webhook."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """Send a request, within the timeout; raises nothing."""

    async def aclose(self) -> None:
        """Close all connections."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, the best first. Raises `OSError`, and `UnicodeError` for a name that cannot be one."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def make_context(settings: WebhookSettings) -> ssl.SSLContext:
    """Whom to trust; one for all webhooks. Raises `ConfigError` for an unreadable file."""
    try:
        return ssl.create_default_context(cafile=settings.ca or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"webhooks.ca: expected a readable PEM file, got: {error}") from error


class Post:
    """The connections to one webhook over HTTP (`Poster`). Close it at the end."""

    def __init__(self, settings: WebhookSettings, context: ssl.SSLContext, lookup: Resolve = resolve) -> None:
        self._settings = settings
        self._lookup = lookup
        limits = httpx.Limits(max_keepalive_connections=settings.concurrency, keepalive_expiry=_IDLE_TIMEOUT)
        # a client would keep cookies, follow redirects if told to, and speak to proxies
        self._transport = httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """See `Poster`."""
        try:
            with trio.move_on_after(self._settings.timeout):
                return await self._post(httpx.URL(url), headers, body)
        except (httpx.TransportError, httpx.InvalidURL, OSError, UnicodeError):
            return Result.UNREACHABLE
        return Result.TIMEOUT

    async def aclose(self) -> None:
        """See `Poster`."""
        await self._transport.aclose()

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Result:
        if url.scheme != "https" and not self._settings.allow_http:
            return Result.REFUSED
        addresses = await self._lookup(url.host, url.port or {"https": 443, "http": 80}[url.scheme])
        allowed = [address for address in addresses if self._settings.allow_private or is_public(address)]
        result = Result.REFUSED
        for address in allowed:
            try:
                return await self._post_to(address, url, headers, body)
            except httpx.ConnectError:
                result = Result.UNREACHABLE
        return result

    async def _post_to(self, address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Result:
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),
            headers={"Host": url.netloc.decode(), "User-Agent": _USER_AGENT, **headers},
            content=body,
            extensions={"sni_hostname": url.host},
        )
        response = await self._transport.handle_async_request(request)
        try:
            result = _result_of(response)
            await _read_some(response)
            return result
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _ANSWER_TIMEOUT):
                await response.aclose()


def _result_of(response: httpx.Response) -> Result:
    if response.is_success:
        return Result.SUCCESS
    return Result.REDIRECT if response.is_redirect else Result.STATUS


async def _read_some(response: httpx.Response) -> None:
    """Read a short answer, for its connection's sake; what becomes of it changes nothing."""
    size = 0
    deadline = min(trio.current_time() + _ANSWER_TIMEOUT, trio.current_effective_deadline() - 0.05)
    with contextlib.suppress(httpx.TransportError), trio.move_on_at(deadline):
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > _ANSWER_BYTES:
                return
