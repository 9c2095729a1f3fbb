"""Lets the wall clock of a Python process jump: it is off by the seconds in the file that FAULTS_CLOCK names.

Python imports this module at its start when this folder is on PYTHONPATH. The monotonic clock stays: no clock of a Linux
machine that runs can make that one jump.
"""

import os
import time
from pathlib import Path

_PLACE = Path(os.environ["FAULTS_CLOCK"])
_true_time, _true_time_ns = time.time, time.time_ns


def _offset() -> int:
    try:
        return int(_PLACE.read_text() or 0)
    except FileNotFoundError:  # it has not jumped yet
        return 0


time.time = lambda: _true_time() + _offset()
time.time_ns = lambda: _true_time_ns() + 1_000_000_000 * _offset()
