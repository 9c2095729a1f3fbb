"""The operations port: metrics, liveness, readiness; and loop lag."""

import json
import time
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from node.metrics import Metrics
from node.operations import Operations, Readiness, measure_loop_lag
from node.transport.seam import ApiRequest, ApiResponse


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of this test."""
    return Metrics()


@pytest.fixture
def readiness(metrics: Metrics) -> Readiness:
    """A node that listens and has its bus, which may be away for five seconds."""
    readiness = Readiness(metrics, bus_grace=5)
    readiness.set_listening(True)
    readiness.set_bus(True, 0)
    return readiness


@pytest.fixture
def operations(metrics: Metrics, readiness: Readiness) -> Operations:
    """The server, without a port; asked to drain, it does what SIGTERM does first."""
    return Operations(metrics, readiness, readiness.set_draining)


async def ask(
    operations: Operations, path: str, method: str = "GET", remote: str = "127.0.0.1:1", **headers: str
) -> ApiResponse:
    """Ask without a network."""
    return await operations.answer(ApiRequest(method, path, "", b"", headers, remote))


@pytest.fixture
async def port(operations: Operations, nursery: trio.Nursery) -> AsyncIterator[int]:
    """The port of a server that runs."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(operations.serve, listeners)
    yield listeners[0].socket.getsockname()[1]
    nursery.cancel_scope.cancel()


async def get(port: int, path: str) -> tuple[bytes, bytes]:
    """Ask over the network, and return head and body."""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
            answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def test_node_is_ready_when_it_listens_and_has_its_bus(readiness: Readiness) -> None:
    """Nothing speaks against it."""
    assert readiness.reasons(0) == []


def test_node_is_not_ready_when_it_has_just_begun(metrics: Metrics) -> None:
    """Neither sockets nor bus: both are said, without any grace."""
    reasons = Readiness(metrics, bus_grace=5).reasons(0)
    assert reasons == ["the node does not listen yet", "the bus cannot be reached"]


def test_node_is_not_ready_when_the_bus_is_away_for_longer_than_the_grace(readiness: Readiness) -> None:
    """A short absence turns no node away; its return counts from the next absence."""
    readiness.set_bus(False, 100)
    readiness.set_bus(False, 104)
    assert readiness.reasons(105) == []
    assert readiness.reasons(105.1) == ["the bus cannot be reached"]
    readiness.set_bus(True, 106)
    assert readiness.reasons(106) == []
    readiness.set_bus(False, 107)
    assert readiness.reasons(112) == []


def test_node_is_not_ready_when_it_drains(readiness: Readiness) -> None:
    """New clients go elsewhere at once."""
    readiness.set_draining()
    assert readiness.reasons(0) == ["the node is draining"]


def test_readiness_shows_in_metrics(readiness: Readiness, metrics: Metrics) -> None:
    """One truth for probes and for dashboards."""
    assert b"usher_bus_connected 1.0" in metrics.exposition()
    readiness.set_bus(False, 1)
    readiness.set_draining()
    assert b"usher_bus_connected 0.0" in metrics.exposition()
    assert b"usher_draining 1.0" in metrics.exposition()


async def test_readyz_says_why_when_the_node_is_not_ready(operations: Operations, readiness: Readiness) -> None:
    """200 or 503, with words for a person."""
    ready = await ask(operations, "/readyz")
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "reasons": []})
    readiness.set_draining()
    leaving = await ask(operations, "/readyz")
    assert (leaving.status, json.loads(leaving.body)["reasons"]) == (503, ["the node is draining"])


async def test_livez_is_well_when_the_node_is_not_ready(operations: Operations, readiness: Readiness) -> None:
    """A node without its bus must not be restarted."""
    readiness.set_draining()
    assert (await ask(operations, "/livez")).status == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_operations_refuse_what_they_do_not_know(operations: Operations, method: str, path: str, status: int) -> None:
    """With a text that says what there is."""
    response = await ask(operations, path, method)
    assert response.status == status
    assert json.loads(response.body)["error"]


async def test_metrics_come_as_prometheus_text_when_asked_over_the_network(port: int) -> None:
    """Once, with the one content type that Prometheus wants."""
    head, body = await get(port, "/metrics")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.lower().count(b"content-type") == 1
    assert b"text/plain; version=0.0.4" in head
    assert b"# TYPE usher_connections gauge" in body


async def test_probes_are_answered_when_asked_over_the_network(port: int) -> None:
    """The whole way, as the kubelet goes it."""
    head, body = await get(port, "/readyz")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"ready": True, "reasons": []}


async def test_operations_count_nothing_as_api_requests_when_scraped(port: int, metrics: Metrics) -> None:
    """The API's metrics are about the API."""
    await get(port, "/livez")
    assert b"usher_api_requests_total{" not in metrics.exposition()


async def test_operations_drop_connections_when_there_are_too_many(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leak in a scraper costs no descriptors of the node."""
    monkeypatch.setattr("node.operations._CONVERSATIONS", 0)
    assert await get(port, "/livez") == (b"", b"")


async def test_loop_lag_is_measured_when_the_loop_was_held_up(metrics: Metrics, nursery: trio.Nursery) -> None:
    """Whoever blocks is seen."""
    nursery.start_soon(measure_loop_lag, metrics)
    await trio.testing.wait_all_tasks_blocked()
    time.sleep(0.3)  # noqa: ASYNC251 - holding the loop up is the point
    await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    total = float(metrics.exposition().partition(b"usher_loop_lag_seconds_sum ")[2].split()[0])
    assert total > 0.1


async def test_node_drains_when_it_is_asked_to_and_says_the_same_again(operations: Operations, metrics: Metrics) -> None:
    """As often as one likes; a GET changes nothing."""
    assert (await ask(operations, "/drain")).status == 405
    assert b"usher_draining 0.0" in metrics.exposition()
    for _ in range(2):
        response = await ask(operations, "/drain", "POST")
        assert (response.status, json.loads(response.body)) == (200, {"draining": True})
    assert b"usher_draining 1.0" in metrics.exposition()


@pytest.mark.parametrize("remote", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"])
async def test_node_drains_when_its_own_machine_asks(operations: Operations, remote: str) -> None:
    """By whatever of its addresses."""
    assert (await ask(operations, "/drain", "POST", remote)).status == 200


@pytest.mark.parametrize("remote", ["10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1", "", "elsewhere:1"])
async def test_node_refuses_to_drain_when_others_ask(metrics: Metrics, readiness: Readiness, remote: str) -> None:
    """Unless the settings say otherwise: metrics are for many, stopping is not."""
    assert (await ask(Operations(metrics, readiness, readiness.set_draining), "/drain", "POST", remote)).status == 403
    assert readiness.reasons(0) == []
    assert (await ask(Operations(metrics, readiness, lambda: None, remote=True), "/drain", "POST", remote)).status == 200


async def test_node_refuses_to_drain_when_a_web_page_asks(operations: Operations, readiness: Readiness) -> None:
    """A browser on the same machine is on loopback, too, whoever wrote its page."""
    assert (await ask(operations, "/drain", "POST", origin="https://pages.example")).status == 403
    assert readiness.reasons(0) == []
