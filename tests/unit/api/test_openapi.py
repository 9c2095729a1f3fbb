"""openapi.json is what the code says."""

import json

from node.api.openapi import FILE, make_document
from node.api.routes import Route


def test_document_is_current() -> None:
    """Run `python -m node.api.openapi` when it is not."""
    assert json.loads(FILE.read_text()) == make_document()


def test_document_has_every_route_once() -> None:
    """With a summary, and an operation id for generators of clients."""
    operations = [operation for path in make_document()["paths"].values() for operation in path.values()]
    assert len(operations) == len(Route)
    assert len({operation["operationId"] for operation in operations}) == len(Route)
    assert all(operation["summary"] for operation in operations)
