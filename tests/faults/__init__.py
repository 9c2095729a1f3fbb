"""Promises under fault: real nodes, real nats-servers, real sockets, and an oracle.

The oracle compares what clients were told with what was true. `python -m tests.faults --help` tells of long runs by hand;
the tests of this folder are the short ones.
"""
