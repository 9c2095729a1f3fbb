"""Tests of Usher; CONTRIBUTING.md says which kind is where."""
