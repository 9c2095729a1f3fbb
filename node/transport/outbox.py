"""What waits to be written to one client: a bounded queue of complete frames. Pure.

Theory of operation: a frame is `put`, waits, is `take`n in a batch with others, and is out once the writer says
`sent`. Its bytes count until then, so `size` is the memory that this client costs. `seal` puts the last frame (a
close frame); whatever is put later is refused, so nothing can follow a close frame on the wire.

Policy when full: `put` refuses the frame and keeps everything else. Who puts decides what follows; the transports
`drop` what waits and seal with a close frame. A batch that was taken may be half written, so it is never dropped: a
frame that has begun on the wire is finished, or the stream ends.
"""

from collections import deque


class Outbox:
    """Frames for one client, at most `bound` bytes of them besides the last."""

    __slots__ = ("_bound", "_frames", "_taken", "sealed", "size")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._frames: deque[bytes] = deque()
        self._taken = 0
        self.size = 0
        """Bytes waiting and taken."""
        self.sealed = False
        """Whether the last frame has been put."""

    def put(self, frame: bytes) -> bool:
        """Queue a frame. False: it was not queued, because the outbox is sealed or it would go over the bound."""
        size = self.size + len(frame)
        if self.sealed or size > self._bound:
            return False
        self._frames.append(frame)
        self.size = size
        return True

    def seal(self, frame: bytes) -> bool:
        """Queue the last frame, whatever the bound. False: there is a last frame already, which stays."""
        if self.sealed:
            return False
        self._frames.append(frame)
        self.size += len(frame)
        self.sealed = True
        return True

    def drop(self) -> None:
        """Forget what waits. What was taken still counts until it is `sent`."""
        self._frames.clear()
        self.size = self._taken

    def take(self, limit: int) -> bytes:
        """Return whole frames to be written now, about `limit` bytes at most but at least one; empty if none wait.

        Call `sent` when all of it is written, before the next `take`.
        """
        if not self._frames:
            return b""
        first = self._frames.popleft()
        batch = [first]
        size = len(first)
        while self._frames and size + len(self._frames[0]) <= limit:
            batch.append(self._frames.popleft())
            size += len(batch[-1])
        self._taken = size
        return first if len(batch) == 1 else b"".join(batch)

    def sent(self) -> None:
        """Note that the batch taken last is out."""
        self.size -= self._taken
        self._taken = 0
