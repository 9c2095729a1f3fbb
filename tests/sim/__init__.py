"""Many nodes in one process, with seeded faults."""
