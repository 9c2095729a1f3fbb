"""Every case runs against every transport."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from node.transport.settings import TransportSettings
from tests.conformance.sites import SITES, Site

Start = Callable[..., Awaitable[Site]]


@pytest.fixture(params=sorted(SITES))
async def start(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Start]:
    """Start a site, with these settings."""
    sites: list[Site] = []

    async def start_site(**settings: Any) -> Site:
        settings.setdefault("linger_timeout", 0.05)  # TLS has no other way to learn that the client has read all
        sites.append(await SITES[request.param](nursery, TransportSettings(**settings)))
        return sites[-1]

    yield start_site
    for site in sites:
        await site.aclose()


@pytest.fixture
async def site(start: Start) -> Site:
    """A site with the settings a node has by default."""
    return await start()
