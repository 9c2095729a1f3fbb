"""What schemathesis loads: it signs every request as it is about to leave, whatever became of its parts on the way."""

import hashlib
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import schemathesis

from tests.client import Credentials

APP = Credentials("1001", "fuzz-key", "fuzz-secret")


@schemathesis.hook
def before_call(_context: object, _case: object, kwargs: dict[str, Any]) -> None:
    """`requests` calls what it gets as `auth` with the prepared request."""
    kwargs["auth"] = sign


def sign(request: Any) -> Any:
    """Put the signature into the URL, which holds none (protocol.md 8.2)."""
    url = urlsplit(request.url)
    body = request.body or b""
    md5 = hashlib.md5(body.encode() if isinstance(body, str) else body).hexdigest()  # noqa: S324 - the protocol's choice
    query = f"auth_key={APP.key}&auth_timestamp={int(time.time())}&auth_version=1.0&body_md5={md5}"
    query = f"{url.query}&{query}" if url.query else query
    pairs = (part.partition("=") for part in query.split("&"))
    parameters = {unquote(key).lower(): unquote(value) for key, _, value in pairs}
    joined = "&".join(f"{key}={parameters[key]}" for key in sorted(parameters))
    signature = APP.sign(f"{request.method}\n{url.path}\n{joined}")
    request.url = f"{url.scheme}://{url.netloc}{url.path}?{query}&auth_signature={signature}"
    return request
