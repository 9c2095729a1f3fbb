"""Unit tests of `node.transport`."""
