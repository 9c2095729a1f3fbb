"""All targets by name."""

from collections.abc import Mapping

from tests.fuzz import api, bus, configuration, connections, messages, wire
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        *wire.TARGETS,
        *messages.TARGETS,
        *api.TARGETS,
        *bus.TARGETS,
        *configuration.TARGETS,
        *connections.TARGETS,
    )
}
