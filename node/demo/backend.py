"""The application behind the demo's page, written as any user of Usher would write theirs.

Flask and the official `pusher` package, pointed at a node by `host` and `port`: nothing here knows that the other
side is Usher. The application vouches for users (`/pusher/user-auth`) and for who enters the lobby (`/pusher/auth`),
sends events to a user, terminates a user's connections, and publishes headlines. Settings come from the environment;
the demo runs this file as a process of its own, on a socket that it opened before.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pusher
import requests
from flask import Flask, Response, abort, jsonify, redirect, render_template, request, send_file
from pusher.errors import PusherError
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

HERE = Path(__file__).parent
PAGE_FILES = frozenset(file.name for file in HERE.iterdir() if file.suffix in {".css", ".js"})
LONGEST_TEXT = 500
LOBBY = "presence-lobby"
HEADLINES = "cache-headlines"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def create_app(settings: Mapping[str, str]) -> Flask:
    """Make the application. The node at `USHER_HOST`:`USHER_PORT` is asked when there is something to send."""
    app = Flask(__name__, template_folder=str(HERE), static_folder=None)
    usher = pusher.Pusher(
        app_id=settings["USHER_APP_ID"],
        key=settings["USHER_APP_KEY"],
        secret=settings["USHER_APP_SECRET"],
        host=settings["USHER_HOST"],
        port=int(settings["USHER_PORT"]),
        ssl=False,
    )
    _add_page(app, settings)
    _add_users(app, usher)
    _add_channels(app, usher)
    return app


def _add_channels(app: Flask, usher: pusher.Pusher) -> None:
    """Add the routes for what is not one user's alone."""

    @app.post("/pusher/auth")
    def authorize_channel() -> ResponseReturnValue:
        """Let one connection into the lobby, as the user that it is signed in as: a real application might look who."""
        channel = request.form.get("channel_name", "")
        if channel != LOBBY:
            abort(403)
        return jsonify(usher.authenticate(channel, request.form.get("socket_id", "")))

    @app.post("/headline")
    def publish_headline() -> ResponseReturnValue:
        """Publish a headline; the last one is kept for whoever comes later."""
        usher.trigger(HEADLINES, "headline", {"from": _field("from"), "text": _field("text")})
        return jsonify({})


def _field(name: str) -> str:
    """A text of the JSON object that was posted; 400 if it is none."""
    body = request.get_json()
    if not isinstance(body, dict):
        abort(400)
    return str(body.get(name, ""))[:LONGEST_TEXT]


def _add_users(app: Flask, usher: pusher.Pusher) -> None:
    """Add the routes that make this an application with users."""

    @app.post("/pusher/user-auth")
    def authenticate_user() -> ResponseReturnValue:
        """Vouch for the user of one connection.

        A real application knows its user from the session. Here everybody is who they say they are, because two
        tabs of one browser share their cookies and shall be two people.
        """
        watchlist = [name for name in request.form.get("watch", "").split(",") if name]
        user_data = {"id": request.form.get("name", ""), "watchlist": watchlist}
        return jsonify(usher.authenticate_user(request.form.get("socket_id", ""), user_data))

    @app.post("/users/<user_id>/messages")
    def send_message(user_id: str) -> ResponseReturnValue:
        """Send an event to every connection that the user has, whichever node it is on."""
        usher.send_to_user(user_id, "message", {name: _field(name) for name in ("from", "node", "text")})
        return jsonify({})

    @app.post("/users/<user_id>/terminate")
    def terminate(user_id: str) -> ResponseReturnValue:
        """Close every connection of the user, whichever node it is on."""
        usher.terminate_user_connections(user_id)
        return jsonify({})

    @app.errorhandler(ValueError)
    def refuse(error: ValueError) -> ResponseReturnValue:
        """Answer what the SDK will not sign or send, such as an id with a blank in it."""
        return jsonify({"error": str(error)}), 400

    @app.errorhandler(PusherError)
    @app.errorhandler(requests.RequestException)
    def report_node(error: Exception) -> ResponseReturnValue:
        """Answer when the node refused or could not be reached."""
        return jsonify({"error": f"The node did not take it: {error}"}), 502


def _add_page(app: Flask, settings: Mapping[str, str]) -> None:
    """Add the page, the files it needs, and the headers that let it load nothing else."""
    node_ports: list[int] = json.loads(settings["DEMO_NODE_PORTS"])
    pusher_js = settings["DEMO_PUSHER_JS_PATH"]
    pusher_js_url = "/pusher.min.js" if pusher_js else settings["DEMO_PUSHER_JS_URL"]
    counted_nodes = "one node" if len(node_ports) == 1 else f"{NUMBERS[len(node_ports)]} nodes"
    visits = count()

    @app.get("/")
    def page() -> ResponseReturnValue:
        """Serve the page. Every new tab gets the next node, and keeps it: the address says which."""
        node = request.args.get("node", type=int)
        if node is None or not 1 <= node <= len(node_ports):
            others = {**request.args.to_dict(), "node": next(visits) % len(node_ports) + 1}
            return redirect(f"/?{urlencode(others)}")
        config = {"key": settings["USHER_APP_KEY"], "nodePorts": node_ports, "node": node}
        return render_template("page.html", config=config, counted_nodes=counted_nodes, pusher_js_url=pusher_js_url)

    @app.get("/<name>")
    def page_file(name: str) -> ResponseReturnValue:
        """Serve a file of the page."""
        if name == "pusher.min.js" and pusher_js:
            return send_file(pusher_js, mimetype="text/javascript")
        return send_file(HERE / name) if name in PAGE_FILES else ("There is no such page.", 404)

    @app.after_request
    def restrict(response: Response) -> Response:
        """Let the page load and reach what it is made of, and nothing else."""
        nodes = " ".join(f"ws://{request.host.rsplit(':', 1)[0]}:{port}" for port in node_ports)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' {'' if pusher_js else pusher_js_url}; style-src 'self'; "
            f"img-src data:; connect-src 'self' {nodes}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Cache-Control"] = "no-store"
        return response


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Write nothing: the demo shows what happens on its page."""


def serve(settings: Mapping[str, str]) -> None:
    """Serve the application on the inherited socket `DEMO_LISTENER`; SIGTERM ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    make_server(
        "127.0.0.1",
        0,  # both only for error messages: the socket is open
        create_app(settings),
        threaded=True,
        request_handler=_QuietHandler,
        fd=int(settings["DEMO_LISTENER"]),
    ).serve_forever()


if __name__ == "__main__":
    serve(os.environ)
