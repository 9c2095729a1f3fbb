"""The HTTP API against recorded users: real requests, really signed, and no network."""
