"""Hypothesis: state machines and round trips."""
