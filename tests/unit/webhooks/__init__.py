"""The webhooks of a node, but for the cluster."""
