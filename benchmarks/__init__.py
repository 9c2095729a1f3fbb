"""Measures Usher, alone and against soketi, and load-tests installed clusters. See README.md here."""
