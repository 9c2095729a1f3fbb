"""Keys: what a table expects, and how errors say it."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta

from node.config.keys import ConfigError, Table, about, build_table, decode_table, hide_password, keys_of, read_toml


class Inner(Table, frozen=True):
    """A table in a table."""

    token: Annotated[str, about("A secret.", secret=True)] = ""
    level: Annotated[Literal["low", "high"], about("One of two.")] = "low"


class Outer(Table, frozen=True):
    """A table with one key of each kind."""

    size: Annotated[int, about("A size.", ge=1, le=9)]
    ratio: Annotated[float, about("A ratio.", gt=0, le=2)] = 1.0
    ready: Annotated[bool, about("A switch.")] = False
    names: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], about("Names.", min_length=1)] = ("a",)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"size": 10}, "f: size: expected an integer from 1 to 9, got 10"),
        ({"size": "3"}, 'f: size: expected an integer from 1 to 9, got "3"'),
        ({"size": True}, "f: size: expected an integer from 1 to 9, got true"),
        ({"ratio": 0}, "f: ratio: expected a number over 0, up to 2, got 0"),
        ({"ratio": float("nan")}, "f: ratio: expected a number over 0, up to 2, got NaN"),
        ({"ready": 1}, "f: ready: expected true or false, got 1"),
        ({"names": []}, "f: names: expected a list of one or more texts, got []"),
        ({"names": [""]}, 'f: names: expected a list of one or more texts, got [""]'),
        ({"inner": 3}, "f: inner: expected a table, got a value that is not shown"),
        ({"inner": {"level": "mid"}}, 'f: inner.level: expected one of low, high, got "mid"'),
        ({"sise": 3}, "f: sise: there is no such key; did you mean size?"),
        ({"inner": {"zzz": 3}}, "f: inner.zzz: there is no such key; known keys: token, level"),
    ],
)
def test_table_names_the_key_and_the_expectation_when_a_value_is_wrong(value: dict[str, object], problem: str) -> None:
    """An error holds source, key, what was expected and what came."""
    with pytest.raises(ConfigError) as caught:
        decode_table(value, Outer, "f")
    assert caught.value.problems == (problem,)


def test_table_reports_every_problem_when_there_are_several() -> None:
    """Nobody mends mistakes one by one."""
    with pytest.raises(ConfigError) as caught:
        decode_table({"size": 0, "nmes": 1, "inner": {"level": 1}}, Outer, "f")
    assert len(caught.value.problems) == 3


def test_table_hides_the_value_when_a_secret_is_wrong() -> None:
    """A secret of the wrong type is not repeated."""
    with pytest.raises(ConfigError) as caught:
        decode_table({"inner": {"token": ["hush"]}}, Outer, "f")
    assert "hush" not in str(caught.value)


def test_table_names_the_key_when_a_required_one_is_left_out() -> None:
    """There is no default for a required key."""
    with pytest.raises(ConfigError, match="f: size: expected an integer from 1 to 9, got nothing"):
        build_table({}, Outer, "f")


def test_table_is_built_when_all_is_well() -> None:
    """What decode_table gives is what build_table takes, inner tables included."""
    value = decode_table({"size": 2, "ratio": 2, "inner": {"token": "hush"}}, Outer, "f")
    assert build_table(value, Outer, "f") == Outer(size=2, ratio=2.0, inner=Inner(token="hush"))


def test_table_hides_secrets_when_it_is_shown() -> None:
    """No repr holds a secret, nor a password in a URL."""
    shown = repr(Outer(size=1, names=("nats://me:hush@host",), inner=Inner(token="hush")))
    assert "hush" not in shown
    assert "nats://***@host" in shown


def test_key_shortens_a_value_when_it_is_long() -> None:
    """A refused value cannot fill a log."""
    key = next(keys_of(Outer))
    assert len(key.problem("x" * 1000, "f")) < 150


def test_key_takes_numbers_as_text_when_they_come_from_the_environment() -> None:
    """Texts become numbers, booleans and lists."""
    keys = {key.name: key for key in keys_of(Outer)}
    assert keys["size"].decode_text("3", "s") == 3
    assert keys["ratio"].decode_text("0.5", "s") == 0.5
    assert keys["ready"].decode_text("true", "s") is True
    assert keys["names"].decode_text("a, b", "s") == ("a", "b")


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"[" * 10_000])
def test_file_is_refused_by_name_when_it_is_not_toml(tmp_path: object, content: bytes) -> None:
    """Broken syntax, broken encoding and absurd nesting are the same kind of error."""
    path = f"{tmp_path}/broken.toml"
    with open(path, "wb") as file:  # noqa: PTH123 - one line for bytes
        file.write(content)
    with pytest.raises(ConfigError, match=r"broken\.toml: not a TOML file"):
        read_toml(path)


def test_file_is_refused_by_name_when_it_is_not_there(tmp_path: object) -> None:
    """A missing file says so in words."""
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        read_toml(f"{tmp_path}/absent.toml")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("nats://u:p@host:1", "nats://***@host:1"),
        ("nats://token@host,tls://a:b@c", "nats://***@host,tls://***@c"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_url_loses_its_password_when_it_is_shown(text: str, hidden: str) -> None:
    """Only what stands before the host is blanked."""
    assert hide_password(text) == hidden
