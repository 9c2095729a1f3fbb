"""What `info` can ask of a channel, in the API's events and lookups (protocol.md 8.3).

`subscription_count` is answered for presence channels too, as Pusher's own samples have it. A user's own channel has
no attributes: it is nobody's to look into.
"""

from collections.abc import Collection
from enum import Enum

from node.protocol.channels import ChannelKind, kind_of
from node.protocol.errors import ApiError, excerpt


class Attribute(Enum):
    """Every attribute, by its name on the wire."""

    USER_COUNT = "user_count"
    SUBSCRIPTION_COUNT = "subscription_count"
    CACHE = "cache"

    def applies_to(self, kind: ChannelKind) -> bool:
        """Whether channels of this kind have it."""
        match self:
            case Attribute.USER_COUNT:
                return kind.has_members
            case Attribute.SUBSCRIPTION_COUNT:
                return kind is not ChannelKind.SERVER_TO_USER
            case Attribute.CACHE:
                return kind.is_cache


COUNTS = (Attribute.USER_COUNT, Attribute.SUBSCRIPTION_COUNT)
"""What the answer to an event can tell of its channels."""


def split_info(info: str | None) -> tuple[str, ...]:
    """The names in `info`, which has commas between them."""
    return tuple(part for part in info.split(",") if part) if info else ()


def counts_of(names: Collection[str], channel: str) -> tuple[Attribute, ...]:
    """The counts among these names that a channel has; all others are left out, as an event goes out all the same."""
    kind = kind_of(channel)
    return tuple(attribute for attribute in COUNTS if attribute.value in names and attribute.applies_to(kind))


def attributes_of(info: str | None, channel: str) -> tuple[Attribute, ...]:
    """What a lookup of one channel asks for. Raises `ApiError(400)` for what the channel does not have."""
    kind = kind_of(channel)
    asked = tuple(map(_read_attribute, dict.fromkeys(split_info(info))))
    for attribute in asked:
        if not attribute.applies_to(kind):
            raise ApiError(400, f"{attribute.value} is not available for this channel: leave it out of info")
    return asked


def attributes_of_all(info: str | None, prefix: str) -> tuple[Attribute, ...]:
    """What a lookup of all channels with this prefix asks for. Raises `ApiError(400)`."""
    asked = tuple(map(_read_attribute, dict.fromkeys(split_info(info))))
    if Attribute.USER_COUNT in asked and not kind_of(prefix).has_members:
        raise ApiError(400, "user_count is for presence channels only: add filter_by_prefix=presence-, or more of a name")
    if Attribute.CACHE in asked:
        raise ApiError(400, "cache is not available for several channels at once: ask for each by its name")
    return asked


def _read_attribute(name: str) -> Attribute:
    try:
        return Attribute(name)
    except ValueError:
        known = ", ".join(attribute.value for attribute in Attribute)
        raise ApiError(400, f"Unknown attribute '{excerpt(name, 50)}' in info: there are {known}") from None
