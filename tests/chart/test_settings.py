"""What nodes of a release are told: settings, apps, and how long they may take to leave. The node's own code reads it."""

import base64
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config.apps import App, load_apps
from node.config.settings import Settings
from node.config.sources import load_settings
from node.drain import longest_stop
from tests.chart.helm import CHART, FIXTURES, Rendering, fixture, render


def loaded(release: Rendering, directory: Path) -> Settings:
    """The settings as a node of this release reads them. Files that Secrets hold are empty ones in `directory`."""
    text = release.one("ConfigMap", release.one("Deployment")["metadata"]["name"])["data"]["usher.toml"]
    path = directory / "usher.toml"
    path.write_text(text.replace("/etc/usher", str(directory)))
    for file in ("tls/tls.crt", "tls/tls.key", "nats/credentials", "nats-tls/ca", "nats-tls/certificate", "nats-tls/key"):
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).touch()
    variables = {
        item["name"]: item.get("value", "").replace("/etc/usher", str(directory)) for item in release.container["env"]
    }
    return load_settings(path, {name: value for name, value in variables.items() if name != "USHER_CONFIG"}).settings


def apps_of(release: Rendering, directory: Path) -> tuple[App, ...]:
    """The apps as a node reads them."""
    path = directory / "apps.toml"
    path.write_bytes(base64.b64decode(release.one("Secret", "-apps")["data"]["apps.toml"]))
    return load_apps(path)


@pytest.mark.parametrize("name", FIXTURES)
def test_node_takes_the_settings_of_every_fixture(name: str, tmp_path: Path) -> None:
    """Everything that was asked for is there, and the chart decides the rest."""
    release = render(fixture(name))
    told = loaded(release, tmp_path)
    ports = {port["name"]: port["containerPort"] for port in release.container["ports"]}
    assert (told.port, told.ops_port) == (ports["clients"], ports["ops"])
    assert told.host == told.ops_host == fixture(name).get("listen", "0.0.0.0")  # noqa: S104 - within a pod
    assert bool(told.nats.servers) == (name != "single")
    mounts = {mount["mountPath"] for mount in release.container["volumeMounts"]}
    files = (told.apps, told.tls.certificate, told.tls.key, told.nats.credentials, told.nats.tls.ca, told.nats.tls.key)
    assert {str(Path(file).parent).replace(str(tmp_path), "/etc/usher") for file in files if file} <= mounts


def test_release_decides_what_the_image_has_variables_for() -> None:
    """A variable wins over the file, so the image's own would win over the chart's settings."""
    image = (CHART.parents[1] / "deploy" / "Dockerfile").read_text()
    assert set(re.findall(r"\b(USHER_\w+)=", image)) <= {item["name"] for item in render().container["env"]}


def test_node_is_told_every_nats_server_by_its_own_name(tmp_path: Path) -> None:
    """As their StatefulSet names them."""
    release = render()
    stateful = release.one("StatefulSet")
    told = loaded(release, tmp_path)
    headless = release.one("Service", stateful["spec"]["serviceName"])["metadata"]["name"]
    names = [f"{stateful['metadata']['name']}-{number}.{headless}.chat.svc" for number in range(3)]
    assert list(told.nats.servers) == [f"nats://{name}:4222" for name in names]
    routes = [variable["value"] for variable in stateful["spec"]["template"]["spec"]["containers"][0]["env"][5:]]
    assert routes == [f"'nats://$(NATS_USER):$(NATS_PASSWORD)@{name}:6222'" for name in names]


def test_numbers_arrive_as_they_were_written(tmp_path: Path) -> None:
    """Neither 4.194304e+06, nor a text."""
    values = {"config": {"websocket": {"outbox_bytes": 104_857_600}, "watchlist": {"batch_interval": 0.000001}}}
    told = loaded(render(values), tmp_path)
    assert (told.websocket.outbox_bytes, told.watchlist.batch_interval) == (104_857_600, 0.000001)


def test_texts_arrive_as_they_were_written(tmp_path: Path) -> None:
    r"""With quotes, backslashes, blanks and what is special in TOML or in templates."""
    odd = 'a "quoted" \\ {{ .Values }} # <&> \u00fc\n'
    values = {
        "apps": {
            "list": [{"id": "1", "key": "k", "secret": odd, "name": odd}, {"id": "2", "key": "l", "secrets": ["b", "a"]}]
        }
    }
    first, second = apps_of(render(values), tmp_path)
    assert (first.secrets, first.name, second.secrets) == ((odd,), odd, ("b", "a"))


def test_apps_have_every_key_that_the_values_set(tmp_path: Path) -> None:
    """As the node's own table of keys has them."""
    first, second = apps_of(render(fixture("apps")), tmp_path)
    (webhook,) = first.webhooks
    assert (webhook.url, webhook.events) == ("https://example.com/hook?a=1&b=2", ("member_added", "user_online"))
    assert webhook.headers == {"Authorization": 'Bearer "x"'}
    assert (first.allowed_origins, first.max_connections) == (("https://*.example.com",), 1_000_000)
    assert (second.secrets, second.require_authorization, second.authorization_timeout) == (("new", "old"), True, 7.5)


def test_release_without_apps_gets_one_with_a_secret_of_its_own(tmp_path: Path) -> None:
    """Long enough to guess for ever, and told separately for people."""
    releases = [render(), render()]
    (one,), (other,) = (apps_of(release, tmp_path) for release in releases)
    data = releases[0].one("Secret", "-apps")["data"]
    assert {name: base64.b64decode(data[name]).decode() for name in ("key", "secret")} == {
        "key": one.key,
        "secret": one.secrets[0],
    }
    assert len(one.secrets[0]) == 40
    assert one.secrets != other.secrets


def test_apps_do_not_restart_nodes_and_settings_do() -> None:
    """Nodes read apps again by themselves; nobody reads settings twice."""

    def annotations(values: dict[str, Any]) -> Any:
        return render({"nats": {"bundled": {"existingSecret": "login"}}} | values).node["template"]["metadata"][
            "annotations"
        ]

    assert annotations({"apps": {"list": [{"id": "1", "key": "k", "secret": "s"}]}}) == annotations({})
    assert annotations({"config": {"log": {"level": "debug"}}}) != annotations({})


seconds = st.floats(0.01, 300, allow_nan=False) | st.integers(1, 300)


leaving = st.fixed_dictionaries(
    {
        "config": st.fixed_dictionaries(
            {
                "drain": st.fixed_dictionaries({}, optional={"delay": seconds, "spread": seconds, "timeout": seconds}),
                "presence": st.fixed_dictionaries({}, optional={"linger": seconds, "drain_linger": seconds}),
            }
        ),
        "preStopSleepSeconds": st.integers(0, 120),
        "terminationSlackSeconds": st.integers(5, 120),
    },
)


@settings(max_examples=40, deadline=None)
@given(values=leaving, alone=st.booleans())
def test_pod_has_as_long_to_leave_as_its_node_takes(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], alone: bool
) -> None:
    """preStop, the node's own longest stop, and the slack: for whatever values, by the chart's one formula."""
    release = render(values | ({"nats": {"mode": "none"}, "replicas": 1} if alone else {}))
    stop = longest_stop(loaded(release, tmp_path_factory.getbasetemp()))
    needed = values["preStopSleepSeconds"] + stop + values["terminationSlackSeconds"]
    assert math.floor(needed - 1e-6) <= release.pod["terminationGracePeriodSeconds"] - 1 < needed + 1e-6


def test_nats_has_as_long_to_leave_as_its_lame_duck_takes() -> None:
    """And some time to end."""
    lame_duck = {"gracePeriodSeconds": 20, "durationSeconds": 200}
    release = render({"nats": {"bundled": {"lameDuck": lame_duck}}})
    assert release.one("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 230
    assert "lame_duck_duration: 200s" in release.one("ConfigMap", "-nats")["data"]["nats.conf"]
