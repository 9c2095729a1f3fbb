"""The command line: chooses scenarios and servers, shows progress, writes results and their report."""

import datetime as dt
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import machine, plan, scenarios
from benchmarks.plan import Outcome, Turn
from benchmarks.report import show, write_report
from benchmarks.results import Result, collect, save
from benchmarks.scenarios.scenario import Scenario
from benchmarks.servers import Installed, Server, Soketi, Usher
from benchmarks.stage import Options
from benchmarks.wire import Address, App

_SCENARIOS = {scenario.name: scenario for scenario in scenarios.ALL}
_BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", metavar="[SCENARIO]...", nargs=-1, type=click.Choice(list(_SCENARIOS)))
@click.option("--against", type=click.Choice(["soketi"]), help="Measure this server, too, in the same runs.")
@click.option("--url", "urls", multiple=True, metavar="URL", help="Load these nodes instead: http(s)://host:port[/prefix].")
@click.option("--app-id", default="1", show_default=True, help="With --url: the app to load.")
@click.option("--app-key", default="", help="Its key.")
@click.option("--app-secret", default="", envvar="USHER_BENCH_SECRET", help="Its secret. [USHER_BENCH_SECRET]")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1, 100), help="Runs of each; medians count.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes that make the load.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies connections and operations.")
@click.option("--profile", default="", metavar="DIR", help="Write profiles of Usher's nodes there; figures suffer.")
@click.option("--out", default="benchmarks/results", show_default=True, type=click.Path(path_type=Path))
@click.option("--report", "only_report", is_flag=True, help="Measure nothing: make the report of the results in --out anew.")
def main(
    names: tuple[str, ...], against: str | None, urls: tuple[str, ...], out: Path, *, only_report: bool, **options: Any
) -> None:
    """Measure Usher: all scenarios, or those named."""
    if only_report:
        click.echo(f"Report: {write_report(out)}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    ours: Server = _installed(urls, options) if urls else Usher()
    servers = [ours, *([Soketi()] if against else [])]
    console = Console()
    chosen = [_SCENARIOS[name] for name in names or _SCENARIOS]
    usable = _usable(chosen, servers, console)
    chosen_options = Options(options["workers"], options["scale"], options["profile"])
    measured = _circumstances(usable, options)
    failed = False
    for result in _measure(chosen, usable, options["runs"], chosen_options, measured, console):
        console.print(_table(result))
        failed = failed or bool(result.missing)
        if not options["profile"]:
            save(result, out)
    if not options["profile"]:
        console.print(f"Report: {write_report(out)}")
    sys.exit(failed)


main.help = f"{main.help}\n\n\b\nScenarios:\n" + "\n".join(
    f"  {scenario.name:<15} {scenario.about.partition(':')[0]}" for scenario in scenarios.ALL
)


def _installed(urls: Sequence[str], options: Mapping[str, Any]) -> Installed:
    addresses = []
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.UsageError(f"--url: expected http(s)://host:port[/prefix], got {url}")
        tls = parts.scheme == "https"
        addresses.append(Address(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/")))
    if not (options["app_key"] and options["app_secret"]):
        raise click.UsageError("--url needs --app-key and --app-secret")
    return Installed(App(options["app_id"], options["app_key"], options["app_secret"]), addresses)


def _usable(chosen: Sequence[Scenario], servers: Sequence[Server], console: Console) -> list[Server]:
    """The servers that can run at all; says why others, or some scenarios, are left out."""
    for server in servers:
        for scenario in chosen:
            if reason := server.why_not(scenario.nodes):
                console.print(f"[yellow]{scenario.name} without {server.name}: {reason}")
    return [server for server in servers if any(not server.why_not(scenario.nodes) for scenario in chosen)]


def _circumstances(servers: Sequence[Server], options: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "when": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine.describe_machine(),
        "versions": machine.describe_versions({server.name: server.version() for server in servers}),
        "options": {name: options[name] for name in ("runs", "workers", "scale")},
    }


def _measure(  # noqa: PLR0913, PLR0917 - what was asked for, and where to say how it goes
    chosen: Sequence[Scenario],
    servers: Sequence[Server],
    runs: int,
    options: Options,
    measured: Mapping[str, Any],
    console: Console,
) -> Iterator[Result]:
    """Take all turns; a scenario's result as soon as its last turn was taken."""
    turns = plan.make_turns(chosen, servers, runs)
    names = [server.name for server in servers]
    outcomes: list[Outcome] = []
    with _progress(console, len(turns)) as (say, advance):
        for outcome in plan.take(turns, options, say):
            advance(outcome)
            outcomes.append(outcome)
            scenario = outcome.turn.scenario
            if sum(other.turn.scenario is scenario for other in outcomes) == sum(t.scenario is scenario for t in turns):
                present = [
                    name
                    for name in names
                    if any(o.turn.server.name == name for o in outcomes if o.turn.scenario is scenario)
                ]
                yield collect(scenario, present, outcomes, measured)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[tuple[Any, Any]]:
    """A bar; what to call when a step begins, and when a turn was taken."""
    with Progress(*_BAR, console=console) as progress:
        bar = progress.add_task("", total=total)

        def say(turn: Turn, text: str) -> None:
            progress.update(bar, description=f"{turn.scenario.name} · {turn.server.name} · {text}")

        def advance(outcome: Outcome) -> None:
            progress.advance(bar)
            if outcome.failure:
                console.print(f"[red]{outcome.turn.scenario.name} on {outcome.turn.server.name}: {outcome.failure}")

        yield say, advance


def _table(result: Result) -> Table:
    compared = len(result.servers) > 1
    table = Table("line", *result.servers, "unit", *(["ratio", "goal"] if compared else []), title=result.scenario)
    for row in result.rows:
        medians = [row.median(server) for server in result.servers]
        cells = ["-" if value is None else show(value) for value in medians]
        if compared:
            ratio = row.ratio(*result.servers[:2])
            table.add_row(row.line, *cells, row.unit, f"{ratio:.2f}" if ratio else "", row.verdict(*result.servers[:2]))
        else:
            table.add_row(row.line, *cells, row.unit)
    return table


if __name__ == "__main__":
    main()
