"""The real hub in a simulated node: clients are transports without sockets, which read what they are offered."""

import json
from collections.abc import Callable
from typing import Any

from cluster import BusAwayError, Listener, Member, UserEvent
from node.config.apps import App, Apps
from node.connection import Pace
from node.hub import Hub, HubSettings
from node.metrics import Metrics
from node.protocol.channels import server_to_user_channel
from node.protocol.frames import encode_event
from node.protocol.signatures import sign, user_string
from node.transport.seam import Receiver, Upgrade
from node.users import Unavailable
from tests.sim.nodes import Phase, Session

APPS = {name: App(id=name, key=f"key-{name}", secrets=(f"secret-{name}",)) for name in ("a", "b")}


def _payload(frame: bytes) -> Any:
    """The JSON of a text frame."""
    length = frame[1]
    return json.loads(frame[4 if length == 126 else 10 if length == 127 else 2 :])


class _Client:
    """A transport and the client behind it."""

    def __init__(self, session: Session) -> None:
        self.socket_id = ""
        self.buffered = 0
        self._session = session

    def offer(self, frame: bytes) -> None:
        """See `Transport`."""
        session = self._session
        if session.phase in (Phase.CLOSED, Phase.REFUSED) or frame[0] != 0x81:
            return
        message = _payload(frame)
        data = message["data"]
        match message["event"]:
            case "pusher:connection_established":
                self.socket_id = json.loads(data)["socket_id"]
            case "pusher:signin_success":
                session.begin()
            case "pusher_internal:watchlist_events":
                self._follow(json.loads(data)["events"])
            case "news":
                session.receive(data.encode())
            case "pusher:error" if data["code"] not in (4100, 4200):
                session.complain(f"{session} is told {data}")

    def _follow(self, changes: list[dict[str, Any]]) -> None:
        for change in changes:
            for user in change["user_ids"]:
                self._session.follow(user, online=change["name"] == "online")

    def close(self, code: int, reason: str) -> None:
        """See `Transport`."""
        del code, reason
        self._session.end()


class RealHub:
    """`node.hub.Hub` as the simulation drives it."""

    def __init__(self) -> None:
        apps = Apps(APPS.values())
        self._hub = Hub(apps, Metrics(), HubSettings(Pace()))
        self._receivers: dict[Session, Receiver] = {}
        self.listener: Listener = self._hub.listener

    def begin(self, member: Member) -> None:
        """See `tests.sim.nodes.Hub`."""
        self._hub.begin(member)

    async def run(self) -> None:
        """See `tests.sim.nodes.Hub`."""
        await self._hub.run()

    def sign_in(self, session: Session) -> None:
        """See `tests.sim.nodes.Hub`."""
        app, client = APPS[session.app], _Client(session)
        receiver = self._hub.open(Upgrade(f"/app/{app.key}", "protocol=7", None, "", secure=False), client)
        self._receivers[session] = receiver
        user_data = json.dumps({"id": session.user, "watchlist": session.watchlist})
        auth = f"{app.key}:{sign(app.secrets[0], user_string(client.socket_id, user_data))}"
        receiver.receive(json.dumps({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))

    def sign_out(self, session: Session) -> None:
        """See `tests.sim.nodes.Hub`."""
        session.end()
        self._receivers.pop(session).closed()

    def send(self, app: str, user: str, frame: bytes, done: Callable[[bool], None]) -> None:
        """See `tests.sim.nodes.Hub`."""
        encoded = encode_event("news", server_to_user_channel(user), frame.decode())
        self._hub.audience.publish(APPS[app], [UserEvent(APPS[app].id, user, encoded)], done)

    async def terminate_user(self, app: str, user: str) -> int:
        """See `tests.sim.nodes.Hub`."""
        try:
            return await self._hub.users.terminate_user(APPS[app], user)
        except Unavailable as error:
            raise BusAwayError(str(error)) from error

    async def count_user(self, app: str, user: str) -> int:
        """See `tests.sim.nodes.Hub`."""
        try:
            return await self._hub.users.count_user(APPS[app], user)
        except Unavailable as error:
            raise BusAwayError(str(error)) from error
