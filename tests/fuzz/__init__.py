"""Decoders that meet arbitrary bytes."""
