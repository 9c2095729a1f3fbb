"""`python -m node` is `usher`, and so is the script of that name.

Before anything else is imported `serve` heeds SIGTERM. As the first process of a container it would be deaf to it until it
has a handler, since the kernel spares such a process what it does not handle: whoever stops a node that starts would wait
for the whole grace period.
"""

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        # until `node.serve` takes over: nothing runs that would have to be stopped, so nothing is unwound either
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    from node.cli import main as run  # noqa: PLC0415 - as above

    run()


if __name__ == "__main__":
    main()
