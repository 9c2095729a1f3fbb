"""The layering and the habits that the design rests on, read from the source: nothing is imported here.

A rule that is in somebody's way is changed here, with its reason, or kept.
"""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 330
LONGEST_FUNCTION = 60

PURE = (
    "node/api/publishing.py",
    "node/api/rates.py",
    "node/api/routes.py",
    "node/protocol/*.py",
    "node/actions.py",
    "node/balance.py",
    "node/bucket.py",
    "node/connection.py",
    "node/subscriptions.py",
    "node/config/apps.py",
    "node/config/keys.py",
    "node/config/settings.py",
    "node/drain.py",
    "node/config/webhooks.py",
    "node/limits.py",
    "node/multimap.py",
    "node/refusals.py",
    "node/timers.py",
    "node/transport/frame_reader.py",
    "node/transport/head.py",
    "node/transport/message.py",
    "node/transport/outbox.py",
    "node/transport/seam.py",
    "node/webhooks/addresses.py",
    "node/webhooks/counts.py",
    "node/webhooks/events.py",
    "node/webhooks/holds.py",
    "node/webhooks/keeper.py",
    "node/webhooks/memory.py",
    "node/webhooks/queue.py",
    "node/webhooks/recent.py",
    "node/webhooks/request.py",
    "node/webhooks/rota.py",
    "cluster/directory.py",
    "cluster/edges.py",
    "cluster/envelope.py",
    "cluster/indexes.py",
    "cluster/interest.py",
    "cluster/keepers.py",
    "cluster/kept.py",
    "cluster/membership.py",
    "cluster/subjects.py",
    "cluster/tokens.py",
)
"""Modules that decide. Time and chance come in as arguments; what is to be done goes out as values."""

IMPURE = {"trio", "trio_asyncio", "asyncio", "time", "random", "secrets", "structlog", "logging", "socket"}

BROAD_EXCEPTS = {
    ("node/api/handler.py", "handle_nowait"): "a bug that one request shows ends that request",
    ("node/api/handler.py", "handle"): "a bug that one request shows ends that request",
    ("node/channels.py", "_settle"): "a bug that one subscription shows ends that connection, not the cluster member",
    ("node/hub.py", "receive"): "a bug that one message shows ends that connection",
    ("node/hub.py", "_check"): "a bug that one timer shows ends that connection",
    ("node/transport/http.py", "ask_safely"): "a bug that one request shows ends that request",
    ("node/transport/listener.py", "_serve"): "a bug that one connection shows ends that connection",
    ("node/transport/poller.py", "_take_turn"): "a bug that one connection shows ends that connection",
    ("node/users.py", "_settle"): "a bug that one sign-in shows ends that connection, not the cluster member",
    ("node/webhooks/courier.py", "_bring"): "a bug that one batch of webhook events shows ends that batch",
    ("cluster/nats_bus.py", "set_result"): "a waiter's bug must not end the reader, nor keep the others waiting",
    ("cluster/nats_bus.py", "_on_message"): "a handler's bug must not end the reader, and the node's hearing with it",
}
"""Where every error is caught, each with a log line and a counter, and why."""


def modules(*patterns: str) -> list[str]:
    """Python files that match, as paths below the root."""
    found = chain.from_iterable(ROOT.glob(pattern) for pattern in patterns)
    return sorted(str(path.relative_to(ROOT)) for path in found)


SOURCE = modules("node/**/*.py", "cluster/**/*.py", "deploy/**/*.py")
TESTS = modules("tests/**/*.py")


@cache
def parsed(module: str) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / module).read_text(), module)


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a file imports, wherever in the file; the name is empty in `import module`."""
    for node in ast.walk(parsed(module)):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, "") for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                assert level == 0, f"{module}:{node.lineno}: relative import"
                yield from ((origin or "", alias.name) for alias in names)


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def broad_excepts(module: str) -> Iterator[tuple[str, str]]:
    """The (file, function) of every except that catches everything."""
    for function in functions(module):
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and _catches_everything(node.type):
                yield module, function.name


def _catches_everything(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def handed_out() -> set[str]:
    """The names that `cluster` gives to `node`."""
    for node in parsed("cluster/__init__.py").body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
    return set()


@pytest.mark.parametrize("pattern", PURE)
def test_list_of_pure_modules_names_modules_that_exist(pattern: str) -> None:
    """A module that was renamed stays pure."""
    assert modules(pattern)


@pytest.mark.parametrize("module", modules(*PURE))
def test_pure_module_imports_nothing_that_waits_or_is_random(module: str) -> None:
    """No Trio, no clock, no randomness, no logging, no network."""
    assert {origin.partition(".")[0] for origin, _ in imports(module)} & IMPURE == set()


@pytest.mark.parametrize("module", modules(*PURE))
def test_pure_module_never_waits(module: str) -> None:
    """No async, no await."""
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node for node in ast.walk(parsed(module)) if isinstance(node, waiting)] == []


@pytest.mark.parametrize("module", modules("cluster/**/*.py"))
def test_cluster_never_imports_node(module: str) -> None:
    """It knows nothing of Pusher."""
    assert [origin for origin, _ in imports(module) if origin.partition(".")[0] == "node"] == []


@pytest.mark.parametrize("module", modules("node/**/*.py"))
def test_node_imports_only_what_cluster_hands_out(module: str) -> None:
    """`from cluster import ...`, and only names of its `__all__`."""
    taken = [(origin, name) for origin, name in imports(module) if origin.partition(".")[0] == "cluster"]
    assert [(origin, name) for origin, name in taken if origin != "cluster" or name not in handed_out()] == []


@pytest.mark.parametrize("module", SOURCE)
def test_source_files_and_functions_stay_short(module: str) -> None:
    """A long one wants to be two."""
    assert len((ROOT / module).read_text().splitlines()) <= LONGEST_FILE
    lengths = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions(module)}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", [*SOURCE, *TESTS])
def test_module_says_what_it_is_for(module: str) -> None:
    """Empty files need no words."""
    tree = parsed(module)
    assert not tree.body or ast.get_docstring(tree)


@pytest.mark.parametrize("module", TESTS)
def test_tests_say_in_one_line_what_they_hold(module: str) -> None:
    """Who reads a failure reads this line first."""
    tests = [function for function in functions(module) if function.name.startswith("test_")]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []


@pytest.mark.parametrize("module", SOURCE)
def test_source_prints_nothing(module: str) -> None:
    """Logs go through structlog; the command line through click."""
    calls = [node.func for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []


def test_broad_excepts_are_those_with_a_reason() -> None:
    """And every reason belongs to one."""
    assert set(chain.from_iterable(map(broad_excepts, SOURCE))) == set(BROAD_EXCEPTS)
