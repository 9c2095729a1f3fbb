"""Who comes to a presence channel (protocol.md 6.5, 2.8)."""

import json

import pytest

from node.protocol.errors import LimitError, ProtocolError
from node.protocol.members import MemberData, member_of, parse_channel_data
from node.protocol.user_data import parse_user_data


@pytest.mark.parametrize(
    ("user_id", "text"),
    [
        ('"10"', "10"),
        ("10", "10"),
        ("10.0", "10"),
        ("1e3", "1000"),
        ("-0", "0"),
        ("1.5", "1.5"),
        ("12345678901234567890", "12345678901234567890"),
        ('"ü b"', "ü b"),
        ('"\\u00fc"', "ü"),
        (json.dumps("u" * 128), "u" * 128),
    ],
)
def test_member_is_known_by_text_whatever_the_backend_signed(user_id: str, text: str) -> None:
    """Numbers are the text that JavaScript makes of them."""
    assert parse_channel_data(f'{{"user_id":{user_id}}}', 1024) == MemberData(text, "{}")


@pytest.mark.parametrize("info", ['{"name":"Ada"}', '{ "n" : 1.50, "x":"\\u00fc" }', "[]", '"x"', "0", "false"])
def test_member_keeps_the_very_info_that_was_signed(info: str) -> None:
    """Spacing and escapes included."""
    assert parse_channel_data(f'{{"user_info":{info},"user_id":"1","more":2}}', 1024).info == info


@pytest.mark.parametrize("more", ["", ',"user_info":null'])
def test_member_without_info_has_an_empty_object(more: str) -> None:
    """Handlers of clients take it apart without looking."""
    assert parse_channel_data(f'{{"user_id":"1"{more}}}', 1024).info == "{}"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "x",
        "[]",
        "null",
        '"1"',
        "{}",
        '{"user_id":""}',
        '{"user_id":null}',
        '{"user_id":true}',
        '{"user_id":["1"]}',
        '{"user_id":"a\\u0000"}',
        '{"user_id":"\\ud800"}',
        '{"user_id":1e999}',
        '{"user_id":"1","user_info":"\\ud800"}',
        '{"user_id":"1","user_info":1e999}',
        '{"user_id":"1","user_info":{"a":}}',
        '{"user_id":"1","user_info":' + "[" * 1000 + "}",
    ],
)
def test_channel_data_that_names_nobody_is_refused_with_4009(raw: str) -> None:
    """A backend's mistake: the client's command is not authorized."""
    with pytest.raises(ProtocolError) as caught:
        parse_channel_data(raw, 100_000)
    assert caught.value.code == 4009


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"user_id": "u" * 129}),
        '{"user_id":' + "9" * 129 + "}",
        '{"user_id":"1","user_info":"' + "x" * 99 + '"}',
        json.dumps({"user_id": "1", "user_info": "ü" * 50}, ensure_ascii=False),
    ],
)
def test_member_over_a_limit_is_refused_without_a_code(raw: str) -> None:
    """128 characters of an id, and the bytes of the info."""
    with pytest.raises(LimitError) as caught:
        parse_channel_data(raw, 100)
    assert caught.value.code is None
    assert parse_channel_data('{"user_id":"1","user_info":"' + "x" * 98 + '"}', 100).user_id == "1"


def test_signed_in_user_is_a_member_by_its_user_data() -> None:
    """Its id, and `user_info` if it has any."""
    assert member_of(parse_user_data('{"id":"ann","user_info":{"a":1},"user_id":"x"}'), 100) == MemberData("ann", '{"a":1}')
    assert member_of(parse_user_data('{"id":"ann"}'), 100) == MemberData("ann", "{}")


def test_signed_in_user_has_the_limits_of_members() -> None:
    """A user id may be longer than a member's."""
    with pytest.raises(LimitError):
        member_of(parse_user_data(json.dumps({"id": "u" * 129})), 100)
    with pytest.raises(LimitError):
        member_of(parse_user_data(json.dumps({"id": "u", "user_info": "x" * 100})), 100)
