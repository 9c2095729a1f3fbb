"""What operators write: `apps.toml`, and settings from a file, the environment and flags. No error shows a secret."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from node.config.apps import App, load_apps
from node.config.keys import ConfigError, Key, keys_of
from node.config.sources import KEYS, Given, load_settings, variable_of
from tests.fuzz.damage import damaged, damaged_bytes, often, word
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
_APP_KEYS = (*(key.name for key in keys_of(App)), "secret", "unknown")
_memory = Path("/dev/shm")  # noqa: S108 - a disk would be what is tested
_file = Path(tempfile.mkdtemp(prefix="usher-fuzz-", dir=_memory if _memory.is_dir() else None)) / "config.toml"


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
        lines += [f"{chance.choice(_APP_KEYS)} = {chance.choice(_ITEMS)}" for _ in range(chance.randrange(3))]
    return _written(chance, lines)


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


def _text(chance: Random, key: Key) -> str:
    if key.secret:
        return SECRET
    return chance.choice(
        (*_ITEMS, "4222", "nats://127.0.0.1:4222", "tls://u:" + SECRET + "@host", "debug", "console", word(chance))
    )


def make_settings(chance: Random) -> Sources:
    """A file with some keys, variables, and flags."""
    keys = list(KEYS.values())
    lines = []
    for key in sorted(chance.sample(keys, chance.randrange(5)), key=lambda key: "." in key.name):
        table, _, name = key.name.rpartition(".")
        text = _text(chance, key)
        item = text if text in _ITEMS else f'"{text}"'
        lines += [f"[{table}]"] * bool(table) + [f"{name} = {item}"]
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
