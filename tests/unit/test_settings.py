"""Settings from a file, the environment and flags."""

import socket
from pathlib import Path

import msgspec
import pytest

from node.config.keys import ConfigError, keys_of
from node.config.settings import Settings
from node.config.sources import KEYS, Given, load_settings, variable_of


def problems_of(config: Path | None = None, environment: dict[str, str] | None = None, *flags: Given) -> tuple[str, ...]:
    """Load settings that are wrong, and return what is said about them."""
    with pytest.raises(ConfigError) as caught:
        load_settings(config, environment, flags)
    return caught.value.problems


def write(tmp_path: Path, text: str) -> Path:
    """Write a usher.toml and return where it is."""
    path = tmp_path / "usher.toml"
    path.write_text(text)
    return path


def test_settings_are_the_defaults_when_nothing_is_given() -> None:
    """Only the name comes from the machine."""
    loaded = load_settings()
    assert loaded.settings == msgspec.structs.replace(Settings(), name=socket.gethostname())
    assert loaded.origins == {}


def test_settings_prefer_flag_to_variable_to_file_to_default(tmp_path: Path) -> None:
    """Each source wins over those before it, and the origin says which did."""
    path = write(tmp_path, 'host = "file"\nport = 1\nops_port = 2\n')
    flags = [Given("host", "flag", "flag --host")]
    loaded = load_settings(path, {"USHER_HOST": "variable", "USHER_PORT": "3"}, flags)
    settings = loaded.settings
    assert (settings.host, settings.port, settings.ops_port, settings.apps) == ("flag", 3, 2, "apps.toml")
    assert loaded.origins == {"host": "flag --host", "port": "variable USHER_PORT", "ops_port": str(path)}


def test_settings_reach_inner_tables_when_a_variable_has_two_underscores() -> None:
    """`__` stands between a table and its key; lists have commas."""
    loaded = load_settings(
        environment={
            "USHER_NATS__SERVERS": "nats://a:1, nats://b:2",
            "USHER_NATS__TLS__HOSTNAME": "bus",
            "USHER_CLUSTER__LEASE": "20",
            "USHER_TRUST_FORWARDED": "true",
        }
    )
    settings = loaded.settings
    assert settings.nats.servers == ("nats://a:1", "nats://b:2")
    assert settings.nats.tls.hostname == "bus"
    assert settings.cluster.lease == 20
    assert settings.cluster.shards == 256
    assert settings.trust_forwarded is True


def test_settings_take_the_file_of_a_variable_when_no_flag_names_one(tmp_path: Path) -> None:
    """USHER_CONFIG is what --config is."""
    path = write(tmp_path, "port = 7")
    assert load_settings(environment={"USHER_CONFIG": str(path)}).settings.port == 7


@pytest.mark.parametrize("name", [key.name for key in keys_of(Settings) if key.name != "name"])
def test_settings_ignore_a_variable_when_it_is_empty(name: str) -> None:
    """Templates leave empty variables behind."""
    assert load_settings(environment={variable_of(name): ""}).settings.port == 6001


def test_settings_ignore_what_kubernetes_says_about_services() -> None:
    """A Service called usher puts variables into every container of its namespace."""
    environment = {
        "USHER_SERVICE_HOST": "10.0.0.1",
        "USHER_SERVICE_PORT": "6001",
        "USHER_SERVICE_PORT_HTTP": "6001",
        "USHER_PORT": "tcp://10.0.0.1:6001",
        "USHER_PORT_6001_TCP": "tcp://10.0.0.1:6001",
        "USHER_PORT_6001_TCP_ADDR": "10.0.0.1",
        "USHER_OPS_SERVICE_HOST": "10.0.0.2",
        "USHER_OPS_PORT": "tcp://10.0.0.2:9601",
        "OTHER": "x",
    }
    assert load_settings(environment=environment).origins == {}


def test_settings_name_the_variable_when_it_is_wrong() -> None:
    """The error leads to the line of the manifest."""
    assert problems_of(None, {"USHER_PORT": "x"}) == (
        'variable USHER_PORT: port: expected an integer from 0 to 65535, got "x"',
    )


def test_settings_name_the_flag_when_it_is_wrong() -> None:
    """The error leads to the flag."""
    assert problems_of(None, None, Given("log.level", "loud", "flag --log-level")) == (
        'flag --log-level: log.level: expected one of debug, info, warning, error, got "loud"',
    )


def test_settings_name_the_file_when_it_is_wrong(tmp_path: Path) -> None:
    """The error leads to the file; numbers there are no texts."""
    path = write(tmp_path, 'port = "1"\n[cluster]\nlinger = 3\n')
    assert problems_of(path) == (
        f'{path}: port: expected an integer from 0 to 65535, got "1"',
        f"{path}: cluster.linger: there is no such key; did you mean shard_linger?",
    )


def test_settings_suggest_the_variable_when_one_is_unknown() -> None:
    """One underscore too few is the usual mistake."""
    (problem,) = problems_of(None, {"USHER_NATS_PASSWORD": "hush"})
    assert problem == "environment: USHER_NATS_PASSWORD: there is no such key; did you mean USHER_NATS__PASSWORD?"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"USHER_TLS__CERTIFICATE": "/absent"}, "tls.certificate: expected the path of a file, got /absent"),
        ({"USHER_WEBHOOKS__CA": "/absent"}, "webhooks.ca: expected the path of a file, got /absent"),
        ({"USHER_TLS__CERTIFICATE": "x" * 300}, "tls.certificate: expected the path of a file, got xxx"),
        ({"USHER_TLS__CERTIFICATE": "a\udcff"}, 'tls.certificate: expected a text, got "a?"'),
        ({"USHER_\udcff": "1"}, "environment: USHER_?: there is no such key"),
        ({"USHER_TLS__KEY": __file__}, "tls.certificate: expected a value because tls.key is set"),
        ({"USHER_NATS__TLS__CERTIFICATE": __file__}, "nats.tls.key: expected a value"),
        ({"USHER_NATS__USER": "u"}, "nats.password: expected a value because nats.user is set"),
        (
            {"USHER_NATS__NKEY": __file__, "USHER_NATS__TOKEN": "hush"},
            "nats.nkey: expected one way to authenticate, got nats.token too (variable USHER_NATS__TOKEN)",
        ),
        ({"USHER_CLUSTER__LEASE": "1"}, "expected heartbeat_interval < probe_after < lease, got 1.0, 2.0, 1.0"),
        ({"USHER_PORT": "9601"}, "ops_port: expected a port of its own"),
        ({"USHER_NATS__SERVERS": "http://a"}, "nats.servers: expected a list of URLs"),
        ({"USHER_NATS__PREFIX": "a.>"}, "nats.prefix: expected a text of letters"),
        ({"USHER_PATH_PREFIX": "/a/"}, "path_prefix: expected a path that begins with /"),
        ({"USHER_WEBSOCKET__ACTIVITY_TIMEOUT": "0"}, "websocket.activity_timeout: expected an integer from 1"),
        ({"USHER_PRESENCE__LINGER": "-1"}, "presence.linger: expected a number from 0"),
        ({"USHER_DRAIN__TIMEOUT": "inf"}, "drain.timeout: expected a number over 0"),
    ],
)
def test_settings_are_refused_when_they_cannot_work(environment: dict[str, str], problem: str) -> None:
    """Ranges, and keys that contradict each other."""
    said = problems_of(None, environment)
    assert any(problem in line for line in said)
    assert "hush" not in str(said)


def test_settings_hide_secrets_when_shown() -> None:
    """Neither the repr nor an error holds one."""
    loaded = load_settings(
        environment={
            "USHER_NATS__USER": "u",
            "USHER_NATS__PASSWORD": "hush",
            "USHER_NATS__SERVERS": "nats://a:hush@b",
        }
    )
    assert "hush" not in repr(loaded)


def test_keys_that_sound_secret_are_marked_as_such() -> None:
    """A new password key without the mark would be printed by check-config."""
    texts = [key for key in KEYS.values() if any(word in key.name for word in ("password", "token", "secret"))]
    assert {key.name for key in texts if key.secret} == {"nats.password", "nats.token"} == {key.name for key in texts}


def test_settings_hide_a_password_when_a_file_is_named_by_a_url() -> None:
    """Somebody put the URL of a server where a path belongs."""
    (problem,) = problems_of(None, {"USHER_NATS__TLS__CA": "tls://user:k33p@host"})
    assert "k33p" not in problem


def test_settings_name_the_variable_when_it_is_no_text() -> None:
    """The environment is bytes; those that are not UTF-8 arrive as lone surrogates."""
    (problem,) = problems_of(None, {"USHER_PORT": "\udcff"})
    assert problem == 'variable USHER_PORT: port: expected an integer from 0 to 65535, got "?"'
