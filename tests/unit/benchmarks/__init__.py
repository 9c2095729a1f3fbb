"""The load generator: what it sends, how it cuts what comes, and what it makes of figures."""
