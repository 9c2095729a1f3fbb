"""Any id becomes a subject token and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.subjects import Subjects, app_of, map_of
from cluster.tokens import BadTokenError, decode_token, encode_token

_ids = st.text(max_size=200)


@given(_ids)
def test_a_token_stands_for_its_id(text: str) -> None:
    """Round trip."""
    assert decode_token(encode_token(text)) == text


@given(_ids)
def test_a_token_is_safe_in_a_subject(text: str) -> None:
    """No separator, wildcard, whitespace or control character, never empty, ASCII."""
    token = encode_token(text)
    assert token
    assert token.isascii()
    assert token.isprintable()
    assert not set(token) & set(". *>\t\r\n")


@given(_ids)
def test_a_token_is_bounded(text: str) -> None:
    """As the docstring says."""
    assert len(encode_token(text)) <= 2 + 16 * len(text) / 3


@given(_ids, _ids)
def test_different_ids_have_different_tokens(one: str, other: str) -> None:
    """Injective."""
    assert (encode_token(one) == encode_token(other)) == (one == other)


@given(_ids)
def test_an_id_that_looks_like_a_token_is_not_taken_for_one(text: str) -> None:
    """Encoding a token gives another token."""
    token = encode_token(text)
    assert decode_token(encode_token(token)) == token


@given(st.text() | st.from_regex(r"=[A-Za-z0-9_=-]*", fullmatch=True))
def test_any_text_is_a_token_or_refused(token: str) -> None:
    """What `decode_token` accepts is exactly what `encode_token` makes."""
    try:
        text = decode_token(token)
    except BadTokenError:
        return
    assert encode_token(text) == token


def test_an_id_with_a_lone_surrogate_is_refused() -> None:
    """Such ids cannot travel, and no valid id is one."""
    with pytest.raises(UnicodeEncodeError):
        encode_token("\ud800")


@given(_ids, _ids, st.integers(1, 4096))
def test_a_stem_names_its_app_and_covers_its_users(app: str, user: str, shards: int) -> None:
    """A change of a user is heard by whoever listens to the user's shard, and its app can be told."""
    subjects = Subjects("usher", shards)
    stem = subjects.stem("presence", app, user)
    assert (map_of(stem), app_of(stem)) == ("presence", app)
    assert stem in subjects.stems("presence", app)
    assert int(stem.rpartition(".")[2]) in range(shards)
    pattern, subject = subjects.changes(stem), subjects.change(stem, user)
    assert pattern.endswith(".*")
    assert subject.rpartition(".")[0] == pattern.rpartition(".")[0]
