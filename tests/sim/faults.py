"""What goes wrong in a simulation. Each fault breaks something, waits, and mends what can be mended.

`BOUNDS` is the promise of cluster/README.md: so many seconds after the last fault of a kind has ended, every watcher's view
is the truth again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from tests.sim.world import Trouble, World

Fault = Callable[[World, float], Awaitable[None]]
"""Given the world and the time by which it must be over."""

BOUNDS = {
    "calm": 1.5,  # a late join: until the next heartbeat
    "leave": 1.5,
    "death": 3.0,
    "vanish": 11.5,  # nobody says that the machine is gone: the lease
    "loss": 3.0,
    "cut": 3.0,
    "stall": 3.0,
    "move": 3.0,
    "mixed": 6.0,  # a death while a node's bus was away is proved when that bus has settled
}


async def _until(world: World, latest: float, longest: float) -> None:
    """Let the fault last a while."""
    await trio.sleep_until(min(latest, trio.current_time() + world.random.uniform(0.05, longest)))


async def leave(world: World, latest: float) -> None:
    """A node says goodbye and ends."""
    if len(world.serving) > 2:
        node = world.random.choice(world.serving)
        world.note(f"{node.name} says goodbye")
        for session in node.open_sessions:
            node.hub.sign_out(session)
        node.alive = False
        await node.member.say_goodbye()
        node.die()
    await _until(world, latest, 1.0)


async def death(world: World, latest: float) -> None:
    """A node's process is killed; perhaps another one starts."""
    await _die(world, latest, power=False)


async def vanish(world: World, latest: float) -> None:
    """A node's machine is gone, and its server does not notice."""
    await _die(world, latest, power=True)


async def _die(world: World, latest: float, *, power: bool) -> None:
    if len(world.serving) < 3:
        return
    node = world.random.choice(world.serving)
    trouble = Trouble(trio.current_time())
    if power:
        world.troubles.append(trouble)
    world.note(f"{node.name} {'vanishes' if power else 'dies'}")
    node.die(power=power)
    await _until(world, latest, 2.0)
    trouble.end = trio.current_time()
    if world.random.random() < 0.5 and trio.current_time() < latest - 2.5:
        world.add_node()


async def loss(world: World, latest: float) -> None:
    """Each hop loses some messages for a while."""
    trouble = Trouble(trio.current_time())
    world.troubles.append(trouble)
    world.lost_unnoticed = True  # single messages, on links that stay up: NATS does not do that
    probability = world.random.choice((0.01, 0.05, 0.2))
    world.note(f"{probability:.0%} of messages are lost from now on")
    world.network.delays = replace(world.network.delays, loss=probability)
    await _until(world, latest, 4.0)
    world.network.delays = replace(world.network.delays, loss=0.0)
    world.note("nothing is lost any more")
    trouble.end = trio.current_time()


async def cut(world: World, latest: float) -> None:
    """Two servers are parted."""
    if len(world.network.servers) < 2:
        return
    one, other = world.random.sample(world.network.servers, 2)
    trouble = Trouble(trio.current_time())
    world.troubles.append(trouble)
    world.note(f"{one.name} and {other.name} are parted")
    world.network.cut(one, other)
    await _until(world, latest, 6.0)
    world.network.heal(one, other)
    world.note(f"{one.name} and {other.name} are joined again")
    trouble.end = trio.current_time()
    if trouble.end - trouble.start < 1.2 * world.settings.heartbeat_interval:
        world.lost_unnoticed = True


async def stall(world: World, latest: float) -> None:
    """A route carries nothing for a while, one way, and loses nothing."""
    routes = [route for server in world.network.servers for route in server.routes.items()]
    if not routes:
        return
    other, route = world.random.choice(routes)
    trouble = Trouble(trio.current_time())
    world.troubles.append(trouble)
    world.note(f"a route to {other.name} stalls")
    route.stall()
    await _until(world, latest, 5.0)
    route.resume()
    world.note(f"the route to {other.name} resumes")
    trouble.end = trio.current_time()


async def move(world: World, latest: float) -> None:
    """A node loses its server, and comes back to some server."""
    node = world.random.choice(world.serving)
    if not node.bus.connected:
        return
    trouble = Trouble(trio.current_time())
    world.troubles.append(trouble)
    world.note(f"{node.name} loses {node.bus.server}")
    node.bus.leave()
    await _until(world, latest, world.random.choice((0.3, 4.0)))
    trouble.end = trio.current_time()
    if node.alive:
        node.bus.join(world.random.choice(world.network.servers))
        world.note(f"{node.name} is back on {node.bus.server}")
        for session in node.open_sessions[: world.random.randint(0, 3)]:  # a second tab, just now
            world.sign_in(node, session.app, session.user, ())


FAULTS: dict[str, tuple[Fault, ...]] = {
    "calm": (),
    "leave": (leave,),
    "death": (death,),
    "vanish": (vanish,),
    "loss": (loss,),
    "cut": (cut,),
    "stall": (stall,),
    "move": (move,),
    "mixed": (death, loss, cut, stall, move),
}
