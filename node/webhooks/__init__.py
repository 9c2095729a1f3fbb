"""Webhooks: what happens is told to the apps' backends (protocol.md 9). node/README.md has the map."""
