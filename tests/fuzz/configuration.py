"""What operators write: `apps.toml`, and settings from a file, the environment and flags. No error shows a secret."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin

from node.config.apps import App, load_apps
from node.config.keys import ConfigError, Key, keys_of
from node.config.sources import KEYS, Given, load_settings, variable_of
from tests.fuzz.damage import damaged, damaged_bytes, often, several, word
from tests.fuzz.target import Target

SECRET = "k33p-th1s-s3cret"
_ITEMS = (
    "1",
    "-1",
    "0.5",
    "1e999",
    "true",
    "nan",
    "[]",
    '["a", "b"]',
    "{}",
    '""',
    '"x"',
    "'''x'''",
    "1979-05-27",
    "0x10",
    '"a b"',
)
_APP_KEYS = {key.name: key for key in keys_of(App)} | {"secret": None, "unknown": None}
_URLS = (
    "https://hooks.example/a",
    f"https://hooks.example/?token={SECRET}",
    "http://[::1]:80/",
    "https://h:99999",
    f"https://u:{SECRET}@h/",
    f"ftp://h/{SECRET}",
    "",
)
_EVENTS = ('["channel_occupied"]', '["user_online", "user_offline"]', "[]", '["other"]', '"cache_miss"')
_HEADERS = (
    f'{{ Authorization = "{SECRET}" }}',
    f'{{ "a b" = "{SECRET}" }}',
    '{ Host = "h" }',
    f'{{ X = "{SECRET}\\u0000" }}',
    "{ X = 1 }",
    "{}",
)
_memory = Path("/dev/shm")  # noqa: S108 - a disk would be what is tested
_directory = tempfile.TemporaryDirectory(prefix="usher-fuzz-", dir=_memory if _memory.is_dir() else None)  # gone at exit
_file = Path(_directory.name) / "config.toml"


@dataclass(frozen=True, slots=True)
class Written:
    """A file. In one that is intact every secret is where it belongs; damage may make a name or a number of it."""

    content: bytes
    intact: bool

    def check_hidden(self, shown: str) -> None:
        """No secret is shown."""
        assert not self.intact or SECRET not in shown


def _written(chance: Random, lines: list[str]) -> Written:
    """A file of these lines, half of them damaged."""
    text = "\n".join(lines) + "\n"
    if often(chance, 0.5):
        return Written(text.encode(errors="replace"), intact=True)
    return Written(damaged_bytes(chance, damaged(chance, text).encode(errors="surrogatepass")), intact=False)


def _right(chance: Random, key: Key) -> Any:
    """A value that a key takes, or nearly."""
    if key.secret:
        return SECRET if not key.is_list else [SECRET] if key.required else []
    if get_origin(key.type) is Literal:
        return chance.choice(get_args(key.type))
    if key.type is bool:
        return often(chance, 0.5)
    if key.is_list:
        return several(chance, ("a", "https://*.example", "1.2.3.4"), 2)
    known = [bound for bound in (key.default, key.meta.ge, key.meta.le) if isinstance(bound, int | float)]
    return chance.choice(known or ["x", "localhost", str(_file)])


def _wrong(chance: Random, key: Key) -> str:
    """A text that few keys take."""
    if key.secret:
        return SECRET
    return chance.choice(
        (*_ITEMS, "4222", "nats://127.0.0.1:4222", "tls://u:" + SECRET + "@host", "debug", "console", word(chance))
    )


def _item(chance: Random, key: Key) -> str:
    """A value as it is written in a file."""
    if often(chance, 0.7):
        return json.dumps(_right(chance, key), ensure_ascii=False)
    if key.secret:
        return chance.choice((*_ITEMS, f'"{SECRET}"' if key.is_list else f'["{SECRET}"]'))
    text = _wrong(chance, key)
    return text if text in _ITEMS else f'"{text}"'


def _text(chance: Random, key: Key) -> str:
    """A value as it is written in a variable or flag."""
    if often(chance, 0.3):
        return _wrong(chance, key)
    value = _right(chance, key)
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def make_apps(chance: Random) -> Written:
    """An `apps.toml`, damaged or not."""
    lines: list[str] = []
    for number in range(chance.randrange(4)):
        lines += [
            "[[apps]]",
            f'id = "{number if often(chance, 0.8) else word(chance)}"',
            f'key = "key-{number if often(chance, 0.9) else 0}"',
        ]
        lines.append(chance.choice((f'secret = "{SECRET}"', f'secrets = ["{SECRET}", "other"]')))
        for name in several(chance, list(_APP_KEYS), 2):
            key = _APP_KEYS[name]
            lines.append(f"{name} = {_item(chance, key) if key else chance.choice(_ITEMS)}")
        if often(chance, 0.3):
            lines += _make_webhook(chance)
    return _written(chance, lines)


def _make_webhook(chance: Random) -> list[str]:
    lines = ["[[apps.webhooks]]", f'url = "{chance.choice(_URLS[: 2 if often(chance, 0.7) else None])}"']
    if often(chance, 0.5):
        lines.append(f"events = {chance.choice(_EVENTS[: 2 if often(chance, 0.7) else None])}")
    if often(chance, 0.5):
        lines.append(f"headers = {chance.choice(_HEADERS[: 1 if often(chance, 0.5) else None])}")
    return lines


def check_apps(written: Written) -> None:
    """Apps, or problems that name the file and show no secret."""
    _file.write_bytes(written.content)
    try:
        apps = load_apps(_file)
    except ConfigError as error:
        _check_problems(error, written)
        return
    assert len({app.id for app in apps}) == len({app.key for app in apps}) == len(apps)
    assert all(app.secrets for app in apps)
    written.check_hidden(repr(apps))


def _check_problems(error: ConfigError, written: Written) -> None:
    assert error.problems
    assert all(error.problems)
    str(error).encode()
    written.check_hidden(str(error))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from."""

    file: Written
    environment: dict[str, str]
    flags: tuple[Given, ...]


def make_settings(chance: Random) -> Sources:
    """A file with some keys, variables, and flags."""
    keys = list(KEYS.values())
    lines = []
    for key in sorted(chance.sample(keys, chance.randrange(5)), key=lambda key: "." in key.name):
        table, _, name = key.name.rpartition(".")
        lines += [f"[{table}]"] * bool(table) + [f"{name} = {_item(chance, key)}"]
    chosen = chance.sample(keys, chance.randrange(3))
    environment = {variable_of(key.name): _text(chance, key) for key in chosen}
    if often(chance, 0.1):
        environment[damaged(chance, "USHER_NATS__USER")] = word(chance)
    if often(chance, 0.1):
        environment["USHER_PORT"] = chance.choice(("tcp://10.0.0.1:80", "0", "65536"))
    flags = tuple(
        Given(key.name, _text(chance, key), f"flag --{key.name}") for key in chance.sample(keys, chance.randrange(2))
    )
    return Sources(_written(chance, lines), environment, flags)


def check_settings(sources: Sources) -> None:
    """Settings, or problems that show no secret."""
    _file.write_bytes(sources.file.content)
    try:
        loaded = load_settings(_file, sources.environment, sources.flags)
    except ConfigError as error:
        _check_problems(error, sources.file)
        return
    assert loaded.settings.name
    sources.file.check_hidden(repr(loaded.settings))


TARGETS = (Target("apps", make_apps, check_apps), Target("settings", make_settings, check_settings))
