"""laravel-echo with its `pusher` broadcaster signs in by the endpoint of an application (protocol.md 2.1).

The endpoint is one as an application has it: it knows the user by a bearer token, and has the official Python SDK sign.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pusher

from tests.compat.apps import MAIN, user_data, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_terminations import sees_termination
from tests.processes import LOOPBACK

SDK = pusher.Pusher(app_id=MAIN.app_id, key=MAIN.key, secret=MAIN.secret)


@contextmanager
def application(users_by_token: Mapping[str, str]) -> Iterator[str]:
    """Serve `/broadcasting/user-auth`; its URL. A token that is not in the mapping is refused with 403."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            user = users_by_token.get(self.headers["Authorization"].removeprefix("Bearer "))
            answer = SDK.authenticate_user(form["socket_id"][0], json.loads(user)) if user else {"message": "Forbidden"}
            content = json.dumps(answer).encode()
            self.send_response(200 if user else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_address[1]}/broadcasting/user-auth"
        server.shutdown()
        thread.join()


async def test_echo_signs_in_receives_and_watches(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """By `Echo.connector.signin()`, and again when it was terminated."""
    ann, bob = users("ann", "bob")
    tokens = {"anns-token": user_data(ann, [bob]), "bobs-token": user_data(bob)}
    with application(tokens) as endpoint:
        tab = await browser.open(nodes[0], ann, library="laravel-echo", options=echo_options(endpoint, "anns-token"))
        await tab.sign_in()
        await tab.sees("signed in", user_data(ann, [bob]))
        await tab.sees("offline", [bob])
        other = await browser.open(nodes[1], bob, library="laravel-echo", options=echo_options(endpoint, "bobs-token"))
        await other.sign_in()
        await other.sees("signed in", user_data(bob))
        await tab.sees("online", [bob])
        await backend(nodes[2]).tell(ann, "news", {"from": "Laravel"})
        await tab.sees("news", {"from": "Laravel"})
        await backend(nodes[2]).terminate(ann)
        await sees_termination(tab)
        await tab.sees("signed in", user_data(ann, [bob]))
        await tab.sees("online", [bob])


async def test_echo_whose_application_refuses_stays_connected(browser: Browser, nodes: Nodes) -> None:
    """The node hears nothing of it."""
    with application({}) as endpoint:
        tab = await browser.open(nodes[0], library="laravel-echo", options=echo_options(endpoint, "nobodys-token"))
        await tab.sign_in()
        assert (await tab.next())[0] == "signin error"
        await tab.disconnect()


def echo_options(endpoint: str, bearer_token: str) -> dict[str, object]:
    """Echo's options for an application elsewhere. Echo adds the token to the headers that are given."""
    return {"bearerToken": bearer_token, "userAuthentication": {"endpoint": endpoint, "headers": {}}}
