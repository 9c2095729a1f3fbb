"""Holders know each other, so whoever asks knows whom to await."""

import pytest
import trio
from trio.testing import MockClock

from cluster import BusAwayError, UserEvent
from cluster.envelope import Answer, Holding, Question, decode
from tests.unit.cluster.support import APP, SETTINGS, Peer, peers
from tests.waiting import carried


async def _sign_in(user: str, *nodes: Peer) -> None:
    for node in nodes:
        node.claim(user)
    await trio.sleep(0.5)


def _others(node: Peer, user: str) -> frozenset[str]:
    return node.member._holders._held[APP, user].others


async def test_holders_know_each_other_whoever_came_first(autojump_clock: MockClock) -> None:
    """At the same moment, or one after the other; and forget those who let go."""
    async with peers(4) as (one, two, three, _):
        await _sign_in("ann", one, two)
        await _sign_in("ann", three)
        ids = {node.member.node_id for node in (one, two, three)}
        for node in (one, two, three):
            assert _others(node, "ann") == ids - {node.member.node_id}
        two.release("ann")
        await trio.sleep(1)
        assert _others(one, "ann") == {three.member.node_id}


async def test_a_count_is_exact_and_immediate(autojump_clock: MockClock) -> None:
    """From holders and from others; it does not wait for anybody who is not there."""
    async with peers(4) as cluster:
        await _sign_in("ann", *cluster[:3])
        await _sign_in("ann", cluster[0])
        start = trio.current_time()
        counts = [await node.member.count(APP, "ann") + node.connections["ann"] for node in cluster]
        assert counts == [4] * 4
        assert await cluster[0].member.count(APP, "bob") == 0
        assert trio.current_time() == start


async def test_a_termination_closes_all_and_says_how_many(autojump_clock: MockClock) -> None:
    """On every other node; the asker's own are the node's business."""
    async with peers(4) as cluster:
        await _sign_in("ann", *cluster[:3])
        assert await cluster[3].member.terminate(APP, "ann") == 3
        assert all(not node.connections["ann"] for node in cluster)
        assert await cluster[3].member.terminate(APP, "ann") == 0


async def test_a_holder_whose_answer_is_lost_is_asked_directly(autojump_clock: MockClock) -> None:
    """It is named by the others."""
    async with peers(3) as (one, two, asker):
        await _sign_in("ann", one, two)
        answers: list[bytes] = []

        def drops(_subject: str, payload: bytes) -> bool:
            if isinstance(decode(payload), Answer):
                answers.append(payload)
            return len(answers) == 1

        two.bus.drops = drops
        assert await asker.member.count(APP, "ann") == 2
        assert len(answers) == 2


async def test_a_holder_that_is_silent_is_an_error(autojump_clock: MockClock) -> None:
    """It lives, as far as anyone knows, and did not answer: nothing is promised. In bounded time."""
    async with peers(3) as (one, two, asker):
        await _sign_in("ann", one, two)
        two.bus.fall_silent()
        start = trio.current_time()
        with pytest.raises(BusAwayError):
            await asker.member.terminate(APP, "ann")
        assert trio.current_time() - start <= 2 * SETTINGS.answer_timeout + 0.1
        assert not one.connections["ann"]


async def test_a_sole_holder_that_is_silent_is_an_error(autojump_clock: MockClock) -> None:
    """Somebody has the interest, and nobody answers."""
    async with peers(2) as (one, asker):
        await _sign_in("ann", one)
        one.bus.fall_silent()
        start = trio.current_time()
        with pytest.raises(BusAwayError):
            await asker.member.count(APP, "ann")
        assert trio.current_time() - start <= SETTINGS.answer_timeout + 0.1


async def test_a_holder_that_died_is_not_waited_for_once_that_is_known(autojump_clock: MockClock) -> None:
    """Before that it is asked directly, where "no responders" proves it gone."""
    async with peers(3) as (one, two, asker):
        await trio.sleep(3)  # the bus has settled
        await _sign_in("ann", one, two)
        two.life.cancel()
        await trio.sleep(0.1)
        assert await asker.member.count(APP, "ann") == 1
        await trio.sleep(3)
        assert _others(one, "ann") == set()
        start = trio.current_time()
        assert await asker.member.count(APP, "ann") == 1
        assert trio.current_time() == start


async def test_a_question_to_a_holder_that_just_lets_go_is_asked_again(autojump_clock: MockClock) -> None:
    """It reached nobody, though somebody was interested; the second time nobody is."""
    async with peers(2) as (one, asker):
        await _sign_in("ann", one)
        questions: list[bytes] = []

        def drops(_subject: str, payload: bytes) -> bool:
            if isinstance(decode(payload), Question):
                questions.append(payload)
            return len(questions) == 1

        asker.bus.drops = drops
        one.release("ann")
        assert await asker.member.count(APP, "ann") == 0
        assert len(questions) == 2


async def test_holders_find_each_other_after_one_was_away(autojump_clock: MockClock) -> None:
    """What was said meanwhile was not heard, by either."""
    async with peers(3) as (one, two, asker):
        await _sign_in("ann", one)
        one.bus.go_away()
        await _sign_in("ann", two)
        assert _others(two, "ann") == set()
        one.bus.come_back()
        await trio.sleep(0.5)
        assert _others(one, "ann") == {two.member.node_id}
        assert _others(two, "ann") == {one.member.node_id}
        assert await asker.member.count(APP, "ann") == 2


async def test_many_users_are_introduced_again_in_slices(autojump_clock: MockClock) -> None:
    """A node that comes back does not flood the bus."""
    async with peers(2) as (node, _):
        for number in range(1200):
            node.claim(f"user {number}")
        await trio.sleep(0.5)
        node.bus.go_away()
        node.bus.come_back()
        node.bus.sent.clear()
        rounds: list[int] = []
        for _ in range(10):
            await trio.sleep(SETTINGS.tick_interval)
            rounds.append(sum(isinstance(decode(payload), Holding) for _, payload in node.bus.sent))
            node.bus.sent.clear()
        assert sum(rounds) == 1200
        assert max(rounds) <= 500


async def test_an_event_is_carried_to_the_other_holders_or_refused(autojump_clock: MockClock) -> None:
    """Away means no, and nobody is told."""
    async with peers(3) as (one, two, three):
        await _sign_in("ann", one, two)
        events = [UserEvent(APP, "ann", b"frame")]
        assert await carried(lambda done: one.member.send_events(events, done))
        one.bus.go_away()
        assert not await carried(lambda done: one.member.send_events(events, done))
        assert [node.events for node in (one, two, three)] == [[], [b"frame"], []]
