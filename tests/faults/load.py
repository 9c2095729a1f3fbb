"""Events for users, at a steady rate through random nodes, each with a number; and what became of the requests."""

import json

import trio

from tests.api_client import ApiClient
from tests.faults.ledger import Published
from tests.faults.stage import Stage
from tests.integration.support import APP
from tests.wire import Response

_PATIENCE = 8.0  # seconds for one answer


class Publisher:
    """Publishes `rate` events a second until cancelled; `statuses` counts the answers, 0 for none."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage = stage
        self._interval = 1 / rate
        self._numbers = 0
        self._apis = [ApiClient(APP, node.port) for node in stage.nodes]
        self.answers: list[tuple[Published, Response | None]] = []

    async def run(self) -> None:
        """Publish; requests do not wait for each other."""
        try:
            async with trio.open_nursery() as nursery:
                due = trio.current_time()
                while True:
                    due += self._interval
                    await trio.sleep_until(due)
                    if self._stage.crowd.here:
                        person = self._stage.random.choice(self._stage.crowd.here)
                        nursery.start_soon(self.publish, person.ledger.user, self._choose_node())
        finally:
            with trio.CancelScope(shield=True):
                for api in self._apis:
                    await api.aclose()

    def _choose_node(self) -> int:
        """One that takes requests, if any does, as a load balancer finds it."""
        places = range(len(self._stage.nodes))
        return self._stage.random.choice([place for place in places if place not in self._stage.closed] or places)

    async def publish(self, user: str, node: int) -> Published:
        """One event through one node."""
        self._numbers += 1
        number, sent_at = self._numbers, trio.current_time()
        response = await self._send(node, user, json.dumps({"number": number}))
        status = 0 if response is None else response.status
        event = Published(number, user, node, sent_at, trio.current_time(), status)
        self._stage.published.append(event)
        self.answers.append((event, response))
        return event

    async def _send(self, node: int, user: str, data: str) -> Response | None:
        try:
            with trio.fail_after(_PATIENCE):
                return await self._apis[node].send_to_user(user, "numbered", data)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, AssertionError):  # the stream ended
            return None

    def count(self, status: int) -> int:
        """How many were answered so."""
        return sum(event.status == status for event, _ in self.answers)
