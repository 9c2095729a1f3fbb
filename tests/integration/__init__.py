"""Real processes, a real nats-server, signals."""
