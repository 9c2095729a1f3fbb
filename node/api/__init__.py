"""The HTTP API for backends: routes over `node.protocol` and whoever is in the cluster (protocol.md 8).

`routes` says what a path means, `rates` how much an app may do, `publishing` what a request sends, `lookups` what it asks
the `audience`, and `handler` puts them in order. To add a route: a member of `routes.Route` and its path in `routes.find`,
then what mypy asks for in `lookups.look_up`, and its description in `openapi.OPERATIONS`.
"""

from node.api.handler import Api

__all__ = ["Api"]
