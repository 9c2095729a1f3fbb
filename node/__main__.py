"""`python -m node` is `usher`."""

from node.cli import main

main()
