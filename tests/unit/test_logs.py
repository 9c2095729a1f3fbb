"""Logs: their form, and what never gets into them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from node.config.settings import Log
from node.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(log: Log) -> tuple[structlog.typing.FilteringBoundLogger, io.StringIO]:
    """Configure logs into a text, and return a logger."""
    stream = io.StringIO()
    configure_logs(log, stream)
    return structlog.get_logger("test"), stream


def test_log_writes_one_json_object_for_each_line() -> None:
    """Message, level, time and fields."""
    log, stream = logged(Log())
    log.info("node ready", port=6001)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {"message": "node ready", "level": "info", "port": 6001}
    assert stream.getvalue().count("\n") == 1


def test_log_writes_a_traceback_into_one_line_when_there_is_one() -> None:
    """Line-based collectors keep it together."""
    log, stream = logged(Log())
    try:
        raise ValueError("boom")  # noqa: TRY301 - the test needs a traceback
    except ValueError:
        log.exception("it broke")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: boom" in json.loads(stream.getvalue())["exception"]


def test_log_leaves_out_what_is_below_its_level() -> None:
    """`warning` has no infos."""
    log, stream = logged(Log(level="warning"))
    log.info("quiet")
    log.warning("loud")
    assert json.loads(stream.getvalue())["message"] == "loud"


def test_log_writes_text_without_colours_when_it_is_no_terminal() -> None:
    """The console format is for people, also in a file."""
    log, stream = logged(Log(format="console"))
    log.info("node ready", port=6001)
    assert "node ready" in stream.getvalue()
    assert "port=6001" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("name", ["secret", "secrets", "password", "token", "auth", "user_data", "key"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_log_blanks_a_field_when_its_name_says_that_it_is_secret(name: str, form: str) -> None:
    """The second fence, for the day the first one fails."""
    log, stream = logged(Log(format=form))  # type: ignore[arg-type]
    log.info("oops", **{name: "hush"})
    assert "hush" not in stream.getvalue()


def test_log_blanks_passwords_in_urls() -> None:
    """NATS URLs may hold one, and libraries like to print URLs."""
    log, stream = logged(Log())
    log.info("connecting to nats://me:hush@host", servers=["nats://me:hush@host"], url="nats://me:hush@host")
    assert "hush" not in stream.getvalue()


def test_log_takes_what_libraries_log() -> None:
    """nats-py and Trio use `logging`; their lines look like ours, without their debugging."""
    _, stream = logged(Log(level="debug"))
    logging.getLogger("nats.aio").error("lost %s", "nats://me:hush@host")
    logging.getLogger("asyncio").debug("chatter")
    line = json.loads(stream.getvalue())
    assert (line["message"], line["logger"], line["level"]) == ("lost nats://***@host", "nats.aio", "error")
