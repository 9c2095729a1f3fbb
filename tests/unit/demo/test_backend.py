"""The demo's application backend, asked as its page asks it."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from typing import TYPE_CHECKING

import pytest

from node.demo.backend import create_app

if TYPE_CHECKING:
    from pathlib import Path

    from flask.testing import FlaskClient

SETTINGS = {
    "USHER_HOST": "127.0.0.1",
    "USHER_PORT": "1",
    "USHER_APP_ID": "1",
    "USHER_APP_KEY": "demo-key",
    "USHER_APP_SECRET": "demo-secret",
    "DEMO_NODE_PORTS": "[7001, 7002, 7003]",
    "DEMO_PUSHER_JS_URL": "https://cdn.example/pusher.min.js",
    "DEMO_PUSHER_JS_PATH": "",
}


@pytest.fixture
def client() -> FlaskClient:
    """A client of the backend of a demo with three nodes."""
    return create_app(SETTINGS).test_client()


def test_backend_signs_the_user_and_the_watchlist_when_a_tab_signs_in(client: FlaskClient) -> None:
    """The signature covers the connection and the very bytes of user_data."""
    form = {"socket_id": "12.34", "name": "alice", "watch": "bob,,carol"}
    answer = client.post("/pusher/user-auth", data=form).get_json()
    assert json.loads(answer["user_data"]) == {"id": "alice", "watchlist": ["bob", "carol"]}
    signed = f"12.34::user::{answer['user_data']}".encode()
    assert answer["auth"] == f"demo-key:{hmac.new(b'demo-secret', signed, hashlib.sha256).hexdigest()}"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"socket_id": "12.34", "name": ""},
        {"socket_id": "12.34", "name": "<b>"},
        {"socket_id": "12.34:evil", "name": "alice"},
    ],
)
def test_backend_signs_nothing_when_the_question_is_wrong(client: FlaskClient, form: dict[str, str]) -> None:
    """What cannot be signed is answered with 400 and a reason."""
    answer = client.post("/pusher/user-auth", data=form)
    assert answer.status_code == 400
    assert answer.get_json()["error"]


def test_backend_signs_for_the_lobby_and_for_no_other_channel_when_a_tab_subscribes(client: FlaskClient) -> None:
    """Without channel data: the node knows who is signed in."""
    answer = client.post("/pusher/auth", data={"socket_id": "12.34", "channel_name": "presence-lobby"}).get_json()
    signature = hmac.new(b"demo-secret", b"12.34:presence-lobby", hashlib.sha256).hexdigest()
    assert answer == {"auth": f"demo-key:{signature}"}
    assert client.post("/pusher/auth", data={"socket_id": "12.34", "channel_name": "private-x"}).status_code == 403
    assert client.post("/pusher/auth", data={"socket_id": "12", "channel_name": "presence-lobby"}).status_code == 400


@pytest.mark.parametrize("path", ["/users/bob/messages", "/users/bob/terminate", "/headline"])
def test_backend_answers_502_when_the_node_is_away(path: str) -> None:
    """A node that cannot be reached is the page's to tell, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = create_app({**SETTINGS, "USHER_PORT": str(port)}).test_client()
    answer = client.post(path, json={"text": "hello"})
    assert answer.status_code == 502
    assert "node" in answer.get_json()["error"]


def test_backend_refuses_a_message_when_it_is_not_an_object(client: FlaskClient) -> None:
    """JSON that is no object, and text that is no JSON, are answered with 400 and 415."""
    for path in ("/users/bob/messages", "/headline"):
        assert client.post(path, json=["hello"]).status_code == 400
        assert client.post(path, data="hello").status_code == 415


def test_backend_gives_each_new_tab_the_next_node_when_none_is_asked_for(client: FlaskClient) -> None:
    """Round robin, and what else the address said is kept."""
    places = [client.get("/?name=bob&node=9").headers["Location"] for _ in range(4)]
    assert places == [f"/?name=bob&node={node}" for node in (1, 2, 3, 1)]


def test_backend_keeps_the_node_when_the_address_names_one(client: FlaskClient) -> None:
    """The page is told its node, the ports of all, and the public key, never the secret."""
    page = client.get("/?node=2").get_data(as_text=True)
    assert '"node": 2' in page
    assert "[7001, 7002, 7003]" in page
    assert "demo-secret" not in page


def test_page_may_load_only_what_it_is_made_of_when_served(client: FlaskClient) -> None:
    """The policy names the CDN and the nodes' ports; with a local pusher-js no other site at all."""
    policy = client.get("/?node=1").headers["Content-Security-Policy"]
    assert "script-src 'self' https://cdn.example/pusher.min.js;" in policy
    assert "ws://localhost:7003" in policy


def test_backend_serves_pusher_js_when_there_is_a_local_copy(tmp_path: Path) -> None:
    """A path given replaces the CDN."""
    copy = tmp_path / "pusher.min.js"
    copy.write_text("// pusher-js")
    client = create_app({**SETTINGS, "DEMO_PUSHER_JS_PATH": str(copy)}).test_client()
    with client.get("/pusher.min.js") as answer:
        assert answer.get_data(as_text=True) == "// pusher-js"
    page = client.get("/?node=1")
    assert '<script src="/pusher.min.js">' in page.get_data(as_text=True)
    assert "https://" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["backend.py", "__init__.py", "page.html", "pusher.min.js", "nothing"])
def test_backend_serves_no_other_file_when_asked(client: FlaskClient, name: str) -> None:
    """Only style sheets and scripts of the page are handed out."""
    assert client.get(f"/{name}").status_code == 404


@pytest.mark.parametrize(
    "name",
    ["page.css", *map("{}.js".format, ("page", "choices", "diagram", "explain", "lobby", "names", "session", "timeline"))],
)
def test_backend_serves_the_files_of_the_page_when_asked(client: FlaskClient, name: str) -> None:
    """Each file that the page loads is there."""
    with client.get(f"/{name}") as answer:
        assert answer.status_code == 200
