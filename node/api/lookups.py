"""What requests ask the cluster: channels, their members, users (protocol.md 8.3). Everything here may wait.

Numbers that are asked for together come from one look at the cluster, however many channels there are.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import assert_never

from node.api.audience import Audience
from node.api.publishing import Asked, Counts
from node.api.routes import Route, Target, decode_channel, decode_user_id
from node.config.apps import App
from node.protocol.attributes import Attribute, attributes_of, attributes_of_all
from node.protocol.channels import kind_of
from node.protocol.errors import ApiError

Answer = Mapping[str, object]
Arguments = Mapping[str, str]


async def look_up(audience: Audience, app: App, target: Target, arguments: Arguments) -> Answer:
    """Answer a request that publishes nothing. Raises `ApiError` 400, and `Unavailable`."""
    match target.route:
        case Route.CHANNELS:
            return await _look_at_all(audience, app, arguments)
        case Route.CHANNEL:
            channel = decode_channel(target.name, app.channel_name_limit)
            return await _look_at(audience, app, channel, attributes_of(arguments.get("info"), channel))
        case Route.MEMBERS:
            return await _list_members(audience, app, decode_channel(target.name, app.channel_name_limit))
        case Route.USER:
            connections = await audience.count_user(app, decode_user_id(target.name))
            return {"online": connections > 0, "connections": connections}
        case Route.TERMINATE | Route.TERMINATE_BY_KEY:
            await audience.terminate_user(app, decode_user_id(target.name))
            return {}
        case Route.EVENTS | Route.BATCH_EVENTS | Route.USER_EVENTS:
            raise AssertionError(target.route)  # they publish: see publishing.py
        case _:
            assert_never(target.route)


async def _look_at_all(audience: Audience, app: App, arguments: Arguments) -> Answer:
    prefix = arguments.get("filter_by_prefix", "")
    attributes = attributes_of_all(arguments.get("info"), prefix)
    channels = await audience.channels(app, prefix)
    users = await audience.user_counts(app, channels.keys()) if Attribute.USER_COUNT in attributes else {}
    return {"channels": {name: _tell(attributes, name, channels, users) for name in channels}}


async def _look_at(audience: Audience, app: App, channel: str, attributes: Collection[Attribute]) -> Answer:
    subscriptions = await audience.subscription_counts(app, (channel,))
    users = await audience.user_counts(app, (channel,)) if Attribute.USER_COUNT in attributes else {}
    # counts and members reach this node one after the other: whoever is a member is there
    answer: dict[str, object] = {"occupied": subscriptions[channel] > 0 or any(users.values())}
    answer |= _tell(attributes, channel, subscriptions, users)
    if Attribute.CACHE in attributes:
        answer["cache"] = await _look_at_cache(audience, app, channel)
    return answer


async def _look_at_cache(audience: Audience, app: App, channel: str) -> Answer | None:
    """The kept event, with its name as Vask has it; `ttl` in whole seconds, at least 1."""
    cached = await audience.cached(app, channel)
    return None if cached is None else {"event": cached.event, "data": cached.data, "ttl": math.ceil(cached.ttl)}


async def _list_members(audience: Audience, app: App, channel: str) -> Answer:
    if not kind_of(channel).has_members:
        raise ApiError(400, "Only presence channels have users: their names begin with presence-")
    return {"users": [{"id": user_id} for user_id in await audience.members(app, channel)]}


async def count(audience: Audience, app: App, asked: Asked) -> Sequence[Counts]:
    """What is asked of each channel, in order. Raises `Unavailable`."""
    with_subscriptions = {channel for channel, attributes in asked if Attribute.SUBSCRIPTION_COUNT in attributes}
    with_users = {channel for channel, attributes in asked if Attribute.USER_COUNT in attributes}
    subscriptions = await audience.subscription_counts(app, with_subscriptions) if with_subscriptions else {}
    users = await audience.user_counts(app, with_users) if with_users else {}
    return [_tell(attributes, channel, subscriptions, users) for channel, attributes in asked]


def _tell(attributes: Collection[Attribute], channel: str, subscriptions: Counts, users: Counts) -> Counts:
    sources = ((Attribute.USER_COUNT, users), (Attribute.SUBSCRIPTION_COUNT, subscriptions))
    return {attribute.value: source[channel] for attribute, source in sources if attribute in attributes}
