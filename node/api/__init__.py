"""The HTTP API for backends: routes over `node.protocol` and the users of the cluster (protocol.md 8).

`routes` says what a path means, `rates` how many requests an app may make, `audience` whom an event reaches, and
`handler` puts them in order. To add a route: a member of `routes.Route`, a case in `routes.find`, and what mypy then
asks for in `handler.Api._act`.
"""

from node.api.handler import Api

__all__ = ["Api"]
