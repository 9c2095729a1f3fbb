"""Unit tests of the cluster."""
