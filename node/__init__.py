"""One node: connections, the HTTP API, configuration, metrics, and the `usher` command."""
