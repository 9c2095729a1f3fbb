"""An app with a webhook on this machine, nodes that may send there, and clients of it that subscribe."""

import json

from tests.client import Client, Credentials

HOOKED = Credentials("7", "hooked-key", "hooked-secret")
EVERYTHING = (
    *("channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss"),
    *("subscription_count", "user_online", "user_offline"),
)
ENV = {
    "USHER_WEBHOOKS__ALLOW_HTTP": "true",
    "USHER_WEBHOOKS__ALLOW_PRIVATE": "true",
    "USHER_WEBHOOKS__HOLD": "0.5",
    "USHER_WEBHOOKS__TIMEOUT": "2",
}
"""What nodes get whose webhooks lead to this machine; ends are told soon, since tests wait for them."""


def hooked_toml(*ports: int, events: tuple[str, ...] = EVERYTHING) -> str:
    """The app with a webhook at each of these ports."""
    app = f'id = "{HOOKED.app_id}"\nkey = "{HOOKED.key}"\nsecret = "{HOOKED.secret}"\nclient_events = true'
    webhooks = (
        f'[[apps.webhooks]]\nurl = "http://127.0.0.1:{port}/hook"\nevents = {json.dumps(events)}\n'
        'headers = { Authorization = "Bearer of-tests" }'
        for port in ports
    )
    return "\n".join(["[[apps]]", app, *webhooks, ""])


async def subscribe(client: Client, channel: str, user: str | None = None) -> None:
    """Subscribe, signed where that is needed, as this member of a presence channel; return when it has succeeded."""
    data = {"channel": channel}
    if user is not None:
        data["channel_data"] = json.dumps({"user_id": user})
    if channel.startswith(("private-", "presence-")):
        text = ":".join([client.socket_id, channel, *([data["channel_data"]] if user is not None else [])])
        data["auth"] = f"{HOOKED.key}:{HOOKED.sign(text)}"
    await client.send("pusher:subscribe", data)
    succeeded = "pusher_internal:subscription_succeeded"
    await client.until(lambda: any(told.event == succeeded and told.channel == channel for told in client.told))
