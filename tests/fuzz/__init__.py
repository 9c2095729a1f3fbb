"""Every decoder meets hostile input: it parses, or raises the error that it documents, and nothing goes to the log.

    python -m tests.fuzz --list
    python -m tests.fuzz messages bodies --inputs 1000000
    python -m tests.fuzz heads --seed 7 --replay 12345

The generators know the grammar of what they damage: they begin with something valid, signed where that matters, so that
what follows gets past the first line of a decoder, and then cut, splice, repeat and flip. Each input is made from its
target, seed and number alone, so a failure is replayed by these three. A plain seeded generator makes ten thousand inputs
a second where Hypothesis makes some hundreds, as it shrinks and remembers; `tests/property` uses Hypothesis for what should
come out. Coverage guidance would need a tracer that costs more than the decoders: CPython 3.11 has no cheap one.

To add a decoder: a `Target` in one of the modules, and its name in `targets.py`; every target has its share of CI's minute.
"""
