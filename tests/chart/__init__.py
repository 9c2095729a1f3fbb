"""Tests of the Helm chart, with Helm's own engine."""
