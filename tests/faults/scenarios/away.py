"""NATS is gone altogether, under load: sockets stay, nothing is promised that is not kept, and all is well soon after."""

import trio

from tests.faults.crowds import assemble, counts_agree
from tests.faults.ledger import Published
from tests.faults.load import Publisher
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.wire import Response

CONVERGED_WITHIN = 5.0
NEWCOMERS = 20
RATE = 50.0
_NOTICED = 1.0  # seconds until every node has noticed; what was answered with 200 until then may be lost
_LATE = 2.0  # seconds within which nodes come back one after the other: events for those who are late are lost


def away(users: int, seconds: float) -> Scenario:
    """All nats-servers are killed for so long."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        people = await assemble(stage, nursery, users)
        async with trio.open_nursery() as load:
            publisher = Publisher(stage, RATE)
            load.start_soon(publisher.run)
            await trio.sleep(2)
            async with stage.excused(why="killed", settle=_NOTICED):
                stage.kill(*stage.servers)
            start = trio.current_time()
            for number in range(NEWCOMERS):
                stage.crowd.add(nursery, f"newcomer{number}", people[0].ledger.watchlist)
            await trio.sleep(seconds)
            while_away = [pair for pair in publisher.answers if pair[0].sent_at > start + _NOTICED]
            async with stage.excused(why="coming back", settle=_LATE):
                await stage.begin(*stage.servers)
                took = await stage.settled(CONVERGED_WITHIN)
            stage.figures[f"seconds until all was well, of {CONVERGED_WITHIN:.0f}"] = f"{took:.2f}"
            await trio.sleep(_LATE + 3)
            load.cancel_scope.cancel()
        _judge_answers(stage, while_away)
        lost = sum(stay.ended_at < trio.current_time() for person in people for stay in person.ledger.stays)
        stage.expect(lost == 0, f"no socket is lost, not {lost}")
        codes = {stay.code for person in stage.crowd.here for stay in person.ledger.stays if stay.code is not None}
        stage.expect(codes <= {4100}, f"sign-ins fail with 4100, not {codes}")
        await counts_agree(stage)

    return Scenario("nats-away", play, users, {"offline": 3.0, "online": 3.0})


def _judge_answers(stage: Stage, answers: list[tuple[Published, Response | None]]) -> None:
    """While NATS is away, every answer is a 503 that says when to come again."""
    statuses = {event.status for event, _ in answers}
    stage.expect(statuses == {503}, f"every event is answered with 503, not {statuses}")
    retry = {response.headers.get("retry-after") for _, response in answers if response is not None}
    stage.expect(None not in retry, "with Retry-After")
    stage.figures["answers while NATS was away"] = len(answers)
