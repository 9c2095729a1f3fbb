"""Who a client says it is (protocol.md 2.3)."""

import json

import pytest

from node.protocol.errors import ProtocolError
from node.protocol.user_data import is_user_id, parse_user_data


def refusal(raw: str) -> str:
    """The message of the error that `raw` raises, which must have the code 4009."""
    with pytest.raises(ProtocolError) as caught:
        parse_user_data(raw)
    assert caught.value.code == 4009
    return caught.value.message


def test_user_data_is_read_with_all_its_parts() -> None:
    """Other fields are allowed, and the text itself is kept."""
    raw = '{"id": "user-123", "name": "Ada", "user_info": {"a": 1}, "watchlist": ["b", "a"]}'
    user = parse_user_data(raw)
    assert (user.id, user.raw, user.watchlist) == ("user-123", raw, ("b", "a"))


def test_user_data_is_read_when_only_the_id_is_there() -> None:
    """Everything else is optional."""
    assert parse_user_data('{"id":"1"}').watchlist == ()


@pytest.mark.parametrize(
    "user_id", ["a.b", "*", ">", "x y", "ü/…", "e:1", "#", "0", "a\u00a0b", "\u2028", "u" * 200, "😀" * 200]
)
def test_user_data_takes_any_alphabet_up_to_200_characters(user_id: str) -> None:
    """The documented alphabet is not enforced."""
    assert parse_user_data(json.dumps({"id": user_id})).id == user_id


@pytest.mark.parametrize(
    "user_id",
    [None, 1, 0, True, ["1"], {"id": "1"}, "", "u" * 201, "a\nb", "\x00", "\x7f", "\x85", "a\x1f"],
)
def test_user_data_is_refused_when_the_id_is_no_user_id(user_id: object) -> None:
    """A number, a blank, an over-long id, control characters."""
    assert 'must contain an "id"' in refusal(json.dumps({"id": user_id}))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "x",
        "[]",
        '"1"',
        "null",
        '{"id":"1"',
        '{"id":"1"}x',
        '{"id":"\\ud800"}',
        '{"id":"\ud800"}',
        '{"id":"1","user_info":NaN}',
        '{"id":"1","user_info":1e999}',
        '{"id":"1","user_info":' + "9" * 5000 + "}",
        '{"id":"1","watchlist":' + "[" * 100_000,
        '{"id":"1","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=range(14),
)
def test_user_data_is_refused_when_it_is_no_json_object(raw: str) -> None:
    """Broken JSON, another type, lone surrogates, numbers beyond bounds, nesting without end."""
    assert "must be a JSON object" in refusal(raw)


def test_user_data_is_refused_when_the_id_is_missing() -> None:
    """The id is the one thing that must be there."""
    assert 'must contain an "id"' in refusal("{}")


@pytest.mark.parametrize("watchlist", ["b", 1, {"b": 1}, False])
def test_user_data_is_refused_when_the_watchlist_is_no_array(watchlist: object) -> None:
    """A watchlist that cannot be one is an error of the backend."""
    assert '"watchlist"' in refusal(json.dumps({"id": "1", "watchlist": watchlist}))


def test_user_data_has_an_empty_watchlist_when_it_is_null() -> None:
    """Null is what many languages write for nothing."""
    assert parse_user_data('{"id":"1","watchlist":null}').watchlist == ()


def test_watchlist_keeps_each_valid_id_once_in_list_order() -> None:
    """Duplicates are dropped, members that cannot be ids are ignored, and self may be in it."""
    members = ["b", 1, "1", "b", "", None, ["c"], "a", "u" * 201, "x\n", "1", "self"]
    user = parse_user_data(json.dumps({"id": "self", "watchlist": members}))
    assert user.watchlist == ("b", "1", "a", "self")


def test_watchlist_is_not_cut_here() -> None:
    """The limit is the app's, and 4302 is told by the caller."""
    assert len(parse_user_data(json.dumps({"id": "1", "watchlist": list(map(str, range(150)))})).watchlist) == 150


def test_user_id_is_refused_when_it_is_a_lone_surrogate() -> None:
    """Text that has no UTF-8 cannot travel."""
    assert not is_user_id("\ud800")
