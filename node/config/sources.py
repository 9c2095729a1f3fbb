"""Sources of the settings: a TOML file, the environment, and flags.

A flag wins over a variable, a variable over the file, the file over the default. A variable is `USHER_` and
the key in capitals, with `__` between a table and its key: `USHER_PORT`, `USHER_NATS__PASSWORD`; an empty one
counts as not set. Rules for whoever edits this file: an unknown variable is an error, because it is a typing
error; those that Kubernetes makes for every Service (one called `usher` gives `USHER_PORT=tcp://...`) are
none of ours. Errors name their source.
"""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from node.config.keys import ConfigError, Key, build_table, decode_table, hide_password, keys_of, read_toml, unknown_key
from node.config.settings import Settings

KEYS: Final[Mapping[str, Key]] = {key.name: key for key in keys_of(Settings)}
CONFIG_VARIABLE: Final = "USHER_CONFIG"

_PREFIX: Final = "USHER_"
_SERVICE: Final = re.compile(r"USHER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
_SERVICE_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")
_FILES: Final = (
    *("tls.certificate", "tls.key", "nats.tls.ca", "nats.tls.certificate", "nats.tls.key"),
    *("nats.credentials", "nats.nkey", "webhooks.ca"),
)
_WAYS: Final = ("nats.user", "nats.token", "nats.credentials", "nats.nkey")


@dataclass(frozen=True, slots=True)
class Given:
    """A key's value as somebody wrote it; `source` is what an error calls the place."""

    key: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each dotted key that was set, its source."""

    settings: Settings
    origins: Mapping[str, str]

    def value(self, name: str) -> Any:
        """Return the value of a dotted key."""
        return functools.reduce(getattr, name.split("."), self.settings)


def load_settings(
    config: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[Given] = (),
) -> Loaded:
    """Read all sources; raises ConfigError with every problem, each naming its file, variable or flag.

    `config` is the file of the flag; without it the variable USHER_CONFIG may name one.
    """
    environment = environment or {}
    collected = _Collected()
    if config := config or environment.get(CONFIG_VARIABLE):
        collected.add_file(config)
    for given in (*_from_environment(environment), *flags):
        collected.add(given)
    collected.raise_problems()
    settings = build_table(collected.nested(), Settings, "settings")
    named = msgspec.structs.replace(settings, name=settings.name or socket.gethostname())
    loaded = Loaded(named, collected.origins)
    collected.problems.extend(_contradictions(loaded))
    collected.raise_problems()
    return loaded


def variable_of(key: str) -> str:
    """Return the name of the environment variable that sets a dotted key."""
    return _PREFIX + key.upper().replace(".", "__")


@dataclass(slots=True)
class _Collected:
    """What the sources said so far, by dotted key; later ones replace earlier ones."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_file(self, path: str | Path) -> None:
        try:
            table = decode_table(read_toml(path), Settings, str(path))
        except ConfigError as error:
            self.problems.extend(error.problems)
            return
        for name, value in _flattened(table):
            self.values[name], self.origins[name] = value, str(path)

    def add(self, given: Given) -> None:
        try:
            self.values[given.key] = _decode(given)
            self.origins[given.key] = given.source
        except ConfigError as error:
            self.problems.extend(error.problems)

    def nested(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, value in self.values.items():
            *path, last = name.split(".")
            inner = table
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        return table

    def raise_problems(self) -> None:
        if self.problems:
            raise ConfigError(*self.problems)


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    for variable, text in sorted(environment.items()):
        ours = variable.startswith(_PREFIX) and variable != CONFIG_VARIABLE
        if ours and text and not _is_service(variable, text):
            yield Given(variable.removeprefix(_PREFIX).lower().replace("__", "."), text, f"variable {variable}")


def _is_service(variable: str, text: str) -> bool:
    """Whether Kubernetes put the variable there to say where a Service is."""
    return bool(_SERVICE.fullmatch(variable) or (variable.endswith("PORT") and _SERVICE_VALUE.match(text)))


def _decode(given: Given) -> object:
    if key := KEYS.get(given.key):
        return key.decode_text(given.text, given.source)
    known = {variable_of(name): None for name in KEYS}
    raise ConfigError(unknown_key(variable_of(given.key), "environment", known))


def _contradictions(loaded: Loaded) -> Iterator[str]:
    """Say which keys are well each by itself, but not together or not on this machine."""
    settings, origins = loaded.settings, loaded.origins
    for name in _FILES:
        if (path := loaded.value(name)) and not _is_file(path):
            yield f"{origins[name]}: {name}: expected the path of a file, got {hide_password(path)}"
    for one, other in (("tls.certificate", "tls.key"), ("nats.tls.certificate", "nats.tls.key")):
        yield from _both(loaded, one, other)
    yield from _both(loaded, "nats.user", "nats.password")
    first, *others = [name for name in _WAYS if loaded.value(name)] or [""]
    for name in others:
        yield f"{origins[name]}: {name}: expected one way to authenticate, got {first} too ({origins[first]})"
    beat, probe, lease = (
        settings.cluster.heartbeat_interval,
        settings.cluster.probe_after,
        settings.cluster.lease,
    )
    if not beat < probe < lease:
        yield f"cluster: expected heartbeat_interval < probe_after < lease, got {beat}, {probe}, {lease}"
    if settings.port and (settings.host, settings.port) == (settings.ops_host, settings.ops_port):
        yield f"ops_port: expected a port of its own, got that of the clients ({settings.port})"


def _is_file(path: str) -> bool:
    """Whether there is such a file, as far as we may look; a name that is too long names none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def _both(loaded: Loaded, one: str, other: str) -> Iterator[str]:
    """Say that one of two keys is set without the other."""
    for name, missing in ((one, other), (other, one)):
        if loaded.value(name) and not loaded.value(missing):
            yield f"{loaded.origins[name]}: {missing}: expected a value because {name} is set, got nothing"
