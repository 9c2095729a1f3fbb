"""When a channel's subscription count is told: each change, above 100 every 5 seconds at the most (protocol.md 9). Pure."""

from dataclasses import dataclass
from typing import Final

_MANY: Final = 100
_PAUSE: Final = 5.0


@dataclass(slots=True)
class _Pause:
    until: float
    count: int | None = None  # what has changed meanwhile; the last one is told


class Counts:
    """The channels, by (app, channel), whose count was told lately and was a great one."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, str], _Pause] = {}  # in the order of their ends

    def change(self, channel: tuple[str, str], count: int, now: float) -> bool:
        """The count is another; whether it is to be told now. If not, `poll` gives it in time."""
        if (pause := self._pauses.get(channel)) is not None and count > _MANY:
            pause.count = count
            return False
        self._pauses.pop(channel, None)
        if count > _MANY:
            self._pauses[channel] = _Pause(now + _PAUSE)
        return True

    def poll(self, now: float) -> list[tuple[tuple[str, str], int]]:
        """The channels whose pause has ended and whose count has changed in it."""
        ended = []
        for channel, pause in self._pauses.items():
            if pause.until > now:
                break
            ended.append((channel, pause.count))
        due = [(channel, count) for channel, count in ended if count is not None]
        for channel, _ in ended:
            del self._pauses[channel]
        for channel, _ in due:
            self._pauses[channel] = _Pause(now + _PAUSE)
        return due
