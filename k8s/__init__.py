"""The Helm chart `usher`, and what writes its reference."""
