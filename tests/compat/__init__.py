"""The real clients and server SDKs."""
