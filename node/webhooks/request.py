"""A request as it goes out, and when it goes out again (protocol.md 9). Pure.

The signature is of the very bytes that are sent, by the app's first secret, and `time_ms` is when they are sent, retries
too: receivers refuse what is older than five minutes.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from node.config.apps import App

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


def encode_body(events: Sequence[bytes], time_ms: int) -> bytes:
    """The body for these encoded events."""
    return b'{"time_ms":%d,"events":[%b]}' % (time_ms, b",".join(events))


def headers_of(app: App, body: bytes) -> Mapping[str, str]:
    """The headers that receivers check. Node's SDK takes no parameter in the Content-Type."""
    signature = hmac.digest(app.secrets[0].encode(errors="surrogatepass"), body, "sha256").hex()
    return {"Content-Type": "application/json", "X-Pusher-Key": app.key, "X-Pusher-Signature": signature}


def retry_pause(failures: int, chance: float) -> float:
    """Seconds until a request that failed so often is sent again; `chance` (0 to 1) spreads those that failed together."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + chance / 2)
