"""The demo's backend."""
