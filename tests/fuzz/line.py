"""A connection in memory that costs little: Trio's own streams for tests go through its scheduler with every piece."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Line(trio.abc.HalfCloseableStream):
    """The node's end of a connection in memory: what either side says is there at once, as on no network."""

    def __init__(self) -> None:
        self.told = b""
        self._heard = b""
        self._busy: set[str] = set()
        self._is_over = self._is_finished = self._is_closed = False
        self._changed = trio.lowlevel.ParkingLot()

    def say(self, data: bytes) -> None:
        """The peer says this."""
        self._heard += data
        self._changed.unpark_all()

    def hang_up(self) -> None:
        """The peer goes."""
        self._is_over = True
        self._changed.unpark_all()

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """No two tasks do this at a time, and none once it is closed."""
        assert what not in self._busy
        if self._is_closed:
            raise trio.ClosedResourceError
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.remove(what)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        with self._alone("send"):
            await trio.lowlevel.checkpoint()
            if self._is_over:
                raise trio.BrokenResourceError
            if self._is_finished or self._is_closed:
                raise trio.ClosedResourceError
            self.told += data

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`."""
        with self._alone("send"):
            await trio.lowlevel.checkpoint()
            self._is_finished = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        with self._alone("receive"):
            await trio.lowlevel.checkpoint()
            while not (self._heard or self._is_over or self._is_closed):
                await self._changed.park()
            if self._is_closed:
                raise trio.ClosedResourceError
            end = len(self._heard) if max_bytes is None else max_bytes
            data, self._heard = self._heard[:end], self._heard[end:]
            return data

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        self._is_closed = True
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()
