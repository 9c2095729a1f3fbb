"""Webhooks: what the node tells the servers of apps by itself."""
