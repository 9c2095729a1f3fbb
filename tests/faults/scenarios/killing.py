"""A node is killed, alone or with a nats-server: its users are offline for everybody, once and in time.

Half of the users of the killed node come back elsewhere, as pusher-js does, and make no noise.
"""

import trio

from tests.faults.crowds import assemble, counts_agree, offline_times, told_offline, told_times
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage

ALONE, WITH_NATS = 3.0, 5.0
"""Seconds until everybody has heard."""
REPAIRED = 3.0
SOONEST = 1.3  # seconds; a death can be proved 1.4 s after it, if the last heartbeat came a second before
_MOMENT = 0.3  # seconds; the news of a sign-in may come a little later than the proof of death
_ROOM = 0.5  # seconds more that those who are gone stay away


def killing(users: int, rounds: int, *, with_nats: bool) -> Scenario:
    """Kill a node so many times, each time another one, and start it again."""
    bound = WITH_NATS if with_nats else ALONE

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        await assemble(stage, nursery, users)
        times: list[float] = []
        for number in range(rounds):
            times += await _kill(stage, number % len(stage.nodes), bound, with_nats=with_nats)
        stage.figures[f"offline, of at most {bound:.0f} s"] = told_times(times)
        await counts_agree(stage)

    name = "killing-with-nats" if with_nats else "killing"
    noise = (
        {"gap": 0.0, "fresh": REPAIRED} if with_nats else {"gap": SOONEST, "fresh": _MOMENT}
    )  # what a dying server had is lost
    return Scenario(name, play, users, {"offline": bound, "online": bound, **noise})


async def _kill(stage: Stage, place: int, bound: float, *, with_nats: bool) -> list[float]:
    """One death; how long after it each watcher heard of each user who was gone."""
    node = stage.nodes[place]
    doomed = [person for person in stage.crowd.here if person.node == place]
    gone = stage.random.sample(doomed, len(doomed) // 2)
    for person in gone:
        person.pause()
    programs = [node, stage.random.choice(stage.servers)] if with_nats else [node]
    start = trio.current_time()
    stage.kill(*programs)
    await trio.sleep(bound + _ROOM)
    times = offline_times(stage, gone, start)
    returned = [person for person in doomed if person not in gone]
    noisy = len(told_offline(stage, returned, start))
    stage.figures[f"{node.name}, came back by themselves, of them told offline"] = f"{len(returned)}, {noisy}"
    stage.expect(times or not gone, "somebody hears of those who are gone")
    counted, in_time = stage.total("offline_seconds_count"), stage.total("offline_seconds_bucket", le=f"{bound}")
    stage.expect(counted or not gone, "the nodes count the offline events that they told")
    stage.expect(counted == in_time, f"the nodes told all {counted:.0f} in time, not {in_time:.0f}, by their own count")
    await stage.begin(*programs)
    for person in gone:
        person.resume()
    await stage.settled(10)
    return times
