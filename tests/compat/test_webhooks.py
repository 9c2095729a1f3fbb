"""Webhooks as the official SDKs of Python and Node take them: every kind of event, through their own `webhook()`."""

import json
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pusher
import pytest
import trio

from tests.client import connect
from tests.processes import Processes, free_ports
from tests.receiver import Receiver, Request, run_receiver
from tests.webhook_apps import ENV, EVERYTHING, HOOKED, hooked_toml, subscribe

VALIDATE = """
import Pusher from "pusher"
const { app, headers, body } = JSON.parse(process.argv[1])
const webhook = new Pusher(app).webhook({ headers, rawBody: body })
const valid = webhook.isValid()
console.log(JSON.stringify(valid ? { events: webhook.getEvents(), at: webhook.getTime().getTime() } : null))
"""


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    """What a node on its own has told of two clients who did everything that there is to tell."""
    (port,) = free_ports(1)
    async with run_receiver(port=port) as receiver, trio.open_nursery() as nursery:
        with Processes(tmp_path, hooked_toml(port), ENV) as processes:
            (node,) = processes.start_nodes(1, wait=False)
            await trio.to_thread.run_sync(node.wait_ready)
            with processes.no_problems():
                ann, bob = [await connect(nursery, HOOKED, node.port) for _ in range(2)]
                await ann.sign_in("Änn")
                await subscribe(ann, "public")
                await subscribe(ann, "cache-empty")
                await subscribe(ann, "presence-room", "42")
                await subscribe(bob, "private-cache-empty")
                await subscribe(bob, "presence-room", "Bøb")
                await bob.send("client-hello", {"x": 1})  # no channel: refused, told to nobody
                frame = {"event": "client-hello", "channel": "presence-room", "data": {"text": "høw are you"}}
                await bob._send(0x1, json.dumps(frame).encode())
                await ann.until(lambda: any(told.event == "client-hello" for told in ann.told))
                occupied = {"name": "channel_occupied", "channel": "presence-room"}  # counts are gathered for a moment
                await receiver.wait_for(lambda it: occupied in it.events)
                await ann.close()
                await bob.close()
                await receiver.wait_for(lambda it: {event["name"] for event in it.events} == set(EVERYTHING))
                await receiver.wait_for(lambda it: sum(e["name"] == "member_removed" for e in it.events) == 2)
            yield receiver
        nursery.cancel_scope.cancel()


async def validated_by_node(request: Request) -> Any:
    """What the Node SDK makes of a request; None if it is not valid."""
    app = {"appId": HOOKED.app_id, "key": HOOKED.key, "secret": HOOKED.secret, "cluster": "none"}
    given = json.dumps({"app": app, "headers": request.headers, "body": request.body.decode()})
    command = ["node", "--input-type=module", "-e", VALIDATE, given]
    run = partial(subprocess.run, command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=60)
    done: subprocess.CompletedProcess[str] = await trio.to_thread.run_sync(run)
    return json.loads(done.stdout)


async def test_sdks_take_every_webhook_event(receiver: Receiver, node_js: None) -> None:
    """Signature, Content-Type and time are as they want them; what they return is what happened."""
    sdk = pusher.Pusher(app_id=HOOKED.app_id, key=HOOKED.key, secret=HOOKED.secret)
    for request in receiver.requests:
        key, signature = request.headers["x-pusher-key"], request.headers["x-pusher-signature"]
        by_python = sdk.validate_webhook(key, signature, request.body.decode())
        assert by_python["events"] == request.events
        assert sdk.validate_webhook(key, signature[::-1], request.body.decode()) is None
        by_node = await validated_by_node(request)
        assert by_node == {"events": request.events, "at": by_python["time_ms"]}
    tampered = Request("", receiver.requests[0].headers, receiver.requests[0].body + b" ", 0.0)
    assert await validated_by_node(tampered) is None


async def test_webhook_events_have_the_fields_that_sdks_read(receiver: Receiver) -> None:
    """Exactly those of the protocol, as texts but for numbers, and each has a channel (protocol.md 9)."""
    events = receiver.events
    assert all(isinstance(event["channel"], str) for event in events)
    assert {"name": "channel_occupied", "channel": "public"} in events
    assert {"name": "channel_vacated", "channel": "public"} in events
    assert {"name": "member_added", "channel": "presence-room", "user_id": "42"} in events
    assert {"name": "member_removed", "channel": "presence-room", "user_id": "Bøb"} in events
    assert {"name": "cache_miss", "channel": "private-cache-empty"} in events
    assert {"name": "subscription_count", "channel": "public", "subscription_count": 1} in events
    (hello,) = [event for event in events if event["name"] == "client_event"]
    assert json.loads(hello.pop("data")) == {"text": "høw are you"}
    assert isinstance(hello.pop("socket_id"), str)
    assert hello == {"name": "client_event", "channel": "presence-room", "event": "client-hello", "user_id": "Bøb"}
    online, offline = [event for event in events if event["name"].startswith("user_")]
    assert (online["name"], offline["name"]) == ("user_online", "user_offline")
    assert online["channel"] == offline["channel"] == "#server-to-user-Änn"
    assert online["user_id"] == offline["user_id"] == "Änn"
    assert online["sequence"] < offline["sequence"] < 2**53
    assert all(request.headers["authorization"] == "Bearer of-tests" for request in receiver.requests)
