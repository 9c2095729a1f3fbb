"""Webhooks in the configuration: what may stand there, and that nothing of it is shown."""

from pathlib import Path

import pytest

from node.config.apps import App, load_apps
from node.config.keys import ConfigError
from node.config.webhooks import QUIET, Webhook

APP = '[[apps]]\nid = "1"\nkey = "k"\nsecret = "s"\n'


def load(tmp_path: Path, text: str) -> App:
    """The only app of a file."""
    path = tmp_path / "apps.toml"
    path.write_text(APP + text)
    (app,) = load_apps(path)
    return app


def test_app_has_the_webhooks_that_its_file_names(tmp_path: Path) -> None:
    """All events but the quiet ones, unless it says which."""
    text = (
        '[[apps.webhooks]]\nurl = "https://a.test/x?y=z"\n'
        '[[apps.webhooks]]\nurl = "http://[::1]:8080"\nevents = ["user_offline"]\nheaders = { Authorization = "Bearer t" }'
    )
    one, two = load(tmp_path, text).webhooks
    assert len(one.events) == 6
    assert not QUIET & set(one.events)
    assert two == Webhook(url="http://[::1]:8080", events=("user_offline",), headers={"Authorization": "Bearer t"})
    assert load(tmp_path, "").webhooks == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("webhooks = 3", "webhooks: expected [[apps.webhooks]] tables"),
        ('[[apps.webhooks]]\nevents = ["cache_miss"]', "webhooks[1]: url: expected an https:// URL"),
        ('[[apps.webhooks]]\nurl = "ftp://hidden.test/"', "webhooks[1]: url: expected an https:// URL"),
        ('[[apps.webhooks]]\nurl = "https://user:hidden@a.test/"', "url: expected an https:// URL without user"),
        ('[[apps.webhooks]]\nurl = "https://a.test/#hidden"', "url: expected"),
        ('[[apps.webhooks]]\nurl = "https://a.test/ hidden"', "url: expected"),
        ('[[apps.webhooks]]\nurl = "https://ä.test/"', "url: expected"),
        ('[[apps.webhooks]]\nurl = "https:///hidden"', "url: expected"),
        ('[[apps.webhooks]]\nurl = "https://a.test:70000/"', "url: expected a port up to 65535"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nevents = []', "webhooks[1]: events: expected a list of"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nevents = ["channel_opened"]', "user_offline, got"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nsecret = "hidden"', "secret: there is no such key"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nheaders = { Host = "hidden" }', "headers: Host is the node's own"),
        (
            '[[apps.webhooks]]\nurl = "https://a.test"\nheaders = { X-Pusher-Key = "hidden" }',
            "X-Pusher-Key is the node's own",
        ),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nheaders = { "a b" = "hidden" }', "'a b' is no name of a header"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nheaders = { a = "hidden\\r\\nb: c" }', "a: expected a text in ASCII"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\nheaders = 3', "headers: expected a table of header names"),
        ('[[apps.webhooks]]\nurl = "https://a.test"\n[[apps.webhooks]]\nurl = "https://a.test"', "a URL stands there twice"),
    ],
)
def test_webhook_is_refused_when_it_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    """The error names the key, and shows no URL and no header's text."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert problem in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_webhook_shows_neither_its_url_nor_its_headers() -> None:
    """Both may hold what only their owner should know."""
    webhook = Webhook(url="https://a.test/hidden", headers={"Authorization": "hidden"})
    assert "hidden" not in repr(webhook)
    assert "hidden" not in repr(App(id="1", key="k", secrets=("s",), webhooks=(webhook,)))
