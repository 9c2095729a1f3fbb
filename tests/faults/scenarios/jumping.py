"""The wall clock of every node jumps by an hour and by a day, forth and back: nobody hears anything.

Only the signatures of requests know the time: they are refused while it is wrong, and taken again when it is right.
"""

from collections.abc import Sequence
from pathlib import Path

import trio

from tests.faults.crowds import assemble, counts_agree
from tests.faults.people import Person
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.integration.support import api

CLOCK = Path(__file__).parents[1] / "clock"
OFFSET = "clock-offset"  # a file where the nodes run
HOUR, DAY = 3600, 86_400


def jumping(users: int, seconds: float) -> Scenario:
    """Stay so long at each wrong time."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        people = await assemble(stage, nursery, users)
        await trio.sleep(1)
        heard = _frames(people)
        for jump in (HOUR, -HOUR, DAY, 0):
            stage.note(f"the clocks are {jump} s off")
            (stage.processes.directory / OFFSET).write_text(str(jump))
            for node in stage.nodes:
                async with api(node) as backend:
                    response = await backend.send_to_user(people[0].ledger.user, "told", "the time")
                wanted = 401 if jump else 200
                stage.expect(response.status == wanted, f"a request is answered {wanted}, not {response.status}")
            await trio.sleep(seconds)
        stage.expect(all(len(person.ledger.stays) == 1 for person in people), "no connection is lost")
        stage.expect(_frames(people) == heard, "nobody hears anything")
        stage.expect(stage.total("presence_repairs_total") == 0, "nothing has to be repaired")
        await stage.settled(1)
        await counts_agree(stage)

    return Scenario("clock-jumps", play, users, {}, {"PYTHONPATH": str(CLOCK), "FAULTS_CLOCK": OFFSET})


def _frames(people: Sequence[Person]) -> int:
    return sum(len(stay.heard) for person in people for stay in person.ledger.stays)
