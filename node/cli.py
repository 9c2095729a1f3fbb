"""The `usher` command: serve, check-config, grace, check, wait, webhooks test, demo, version.

Stable interface: `usher serve --host H --port P --ops-port M --nats nats://A,nats://B --apps apps.toml
[--config F]`. Rules for whoever edits this file: flags are texts here, and `node/config/sources.py` gives them their
types, so that one wording of errors serves all sources; what only one command needs is imported in that
command; exit code 2 means that the configuration is wrong, 1 that something else is.
"""

from __future__ import annotations

import math
import os
import sys
import time
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from node.config.apps import choose_app, load_apps
from node.config.keys import ConfigError
from node.config.sources import CONFIG_VARIABLE, KEYS, Given, load_settings, variable_of
from node.drain import longest_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.config.sources import Loaded

_FLAGS: Final[Mapping[str, str]] = {
    "--host": "host",
    "--port": "port",
    "--ops-host": "ops_host",
    "--ops-port": "ops_port",
    "--path-prefix": "path_prefix",
    "--name": "name",
    "--nats": "nats.servers",
    "--apps": "apps",
    "--log-level": "log.level",
    "--log-format": "log.format",
}
_WRONG_CONFIG: Final = 2


def _settings_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--config` and one flag for each of the keys that are often set by hand."""
    for flag, key in reversed(list(_FLAGS.items())):
        text = f"{KEYS[key].description} [{variable_of(key)}]"
        command = click.option(flag, help=text, metavar="URL,URL" if KEYS[key].is_list else "VALUE")(command)
    return click.option("--config", help=f"TOML file with settings. [{CONFIG_VARIABLE}]", metavar="FILE")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Usher: a self-hosted Pusher Channels node that puts signed-in users first."""


@main.command()
@_settings_flags
def serve(config: str | None, **flags: str | None) -> None:
    """Run a node until SIGTERM or Ctrl-C."""
    from node.serve import run  # noqa: PLC0415 - `usher version` needs no Trio

    try:
        status = run(_load(config, flags).settings)
    except ConfigError as error:
        _refuse(error)
    sys.exit(status)


@main.command()
@_settings_flags
def check_config(config: str | None, **flags: str | None) -> None:
    """Check the settings and the apps, say what is set and where, and exit 2 if something is wrong."""
    try:
        loaded = _load(config, flags)
        apps = load_apps(loaded.settings.apps)
    except ConfigError as error:
        _refuse(error)
    for name, origin in sorted(loaded.origins.items()):
        click.echo(f"{name} = {KEYS[name].shown(loaded.value(name))}  ({origin})")
    click.echo(f"{len(apps)} app{'' if len(apps) == 1 else 's'} in {loaded.settings.apps}")


@main.group()
def webhooks() -> None:
    """What apps are told by HTTP."""


@webhooks.command("test")
@click.option("--app", "app_id", required=True, metavar="ID", help="The app's id.")
@_settings_flags
def send_test(app_id: str, config: str | None, **flags: str | None) -> None:
    """Send `channel_occupied` of `usher-test` to each webhook of an app, and say how it ended; exit 1 if one failed."""
    import trio  # noqa: PLC0415 - `usher version` needs no Trio

    from node.webhooks.trial import try_webhooks  # noqa: PLC0415

    try:
        settings = _load(config, flags).settings
        results = trio.run(try_webhooks, load_apps(settings.apps), app_id, settings.webhooks)
    except ConfigError as error:
        _refuse(error)
    for host, result in results:
        click.echo(f"{host}: {result.value}")
    sys.exit(any(result.value != "success" for _, result in results))


@main.command()
@_settings_flags
def grace(config: str | None, **flags: str | None) -> None:
    """Print how many seconds a node with these settings needs to stop, at most: the grace period after SIGTERM."""
    try:
        click.echo(math.ceil(longest_stop(_load(config, flags).settings)))
    except ConfigError as error:
        _refuse(error)


@main.command()
@click.option("--url", default="http://127.0.0.1:6001", show_default=True, help="Where clients and backends go.")
@click.option("--apps", default="apps.toml", show_default=True, metavar="FILE", help="File with the apps.")
@click.option("--app", "app_id", metavar="ID", help="Which of them; otherwise the first that is enabled.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds that all of it may take.")
@click.option("--insecure", is_flag=True, help="Believe any certificate.")
def check(url: str, apps: str, app_id: str | None, timeout: float, insecure: bool) -> None:
    """Sign a user in and send it an event, from outside; exit 1 if it does not arrive."""
    from node.check import CheckError, Target  # noqa: PLC0415 - only this command is a client
    from node.check import check as run  # noqa: PLC0415

    try:
        target = Target(url, choose_app(load_apps(apps), app_id, apps), verify=not insecure)
        run(target, timeout=timeout, say=click.echo)
    except ConfigError as error:
        _refuse(error)
    except CheckError as error:
        click.echo(f"usher: {error}", err=True)
        sys.exit(1)


@main.command()
@click.argument("seconds", type=click.FloatRange(0, 3600))
def wait(seconds: float) -> None:
    """Do nothing for so long: a preStop hook where Kubernetes has none and the image no shell."""
    time.sleep(seconds)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the web page.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Its port.")
@click.option("--pusher-js", metavar="PATH", help="A copy of pusher-js to serve; otherwise the CDN does.")
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="Nodes to start.")
def demo(**options: Any) -> None:
    """Start NATS, several nodes and a web page that shows what they do."""
    from node.demo import main as run  # noqa: PLC0415 - needs the extra packages, and says so

    sys.exit(run(**options))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"usher {installed_version('usher-realtime')}")


def _load(config: str | None, flags: Mapping[str, str | None]) -> Loaded:
    """Read the settings, with the flags that were given."""
    texts = ((flag, flags[flag.removeprefix("--").replace("-", "_")]) for flag in _FLAGS)
    given = [Given(_FLAGS[flag], text, f"flag {flag}") for flag, text in texts if text is not None]
    return load_settings(config, os.environ, given)


def _refuse(error: ConfigError) -> NoReturn:
    """Say what is wrong with the configuration, and exit."""
    for problem in error.problems:
        click.echo(f"usher: {problem}", err=True)
    sys.exit(_WRONG_CONFIG)
