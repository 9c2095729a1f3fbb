"""Request targets: paths and queries as they came over the wire, still percent-encoded.

Everything is decoded exactly once. Escapes that are not UTF-8 become U+FFFD, so that decoding never fails.
"""

from urllib.parse import unquote


def strip_prefix(path: str, prefix: str) -> str:
    """`path` without the prefix that a reverse proxy put before it, if it is there.

    A prefix ends at a segment: `/ws` is no prefix of `/wsx/app/k`. Proxies that strip it themselves are fine.
    """
    prefix = prefix.rstrip("/")
    rest = path.removeprefix(prefix)
    return rest if rest.startswith("/") else path


def split_query(query: str) -> list[tuple[str, str]]:
    """The parameters of a query in order, still encoded. One without `=` has an empty value."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(key, value) for key, _, value in pairs]


def decode_percent(text: str) -> str:
    """`text` with its percent escapes decoded once; `+` stays as it is."""
    return unquote(text) if "%" in text else text
