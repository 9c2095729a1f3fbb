"""The command line: chooses scenarios and servers, shows progress, writes the report."""

import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import plan, scenarios
from benchmarks.figures import Row, rows_of
from benchmarks.servers import Server, Soketi, Usher
from benchmarks.stage import Options

_SERVERS: dict[str, Server] = {server.name: server for server in (Usher(), Soketi())}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", metavar="[SCENARIO]...", nargs=-1, type=click.Choice([s.name for s in scenarios.ALL]))
@click.option("--server", "ours", default="usher", type=click.Choice(list(_SERVERS)))
@click.option("--against", type=click.Choice(["soketi"]), help="Measure this server, too, in the same run.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes that make the load.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies connections and operations.")
@click.option("--profile", default="", metavar="DIR", help="Write profiles of the nodes there; figures suffer.")
@click.option("--out", default="benchmarks/results", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], ours: str, against: str | None, runs: int, workers: int, scale: float, profile: str, out: Path) -> None:
    """Measure Usher."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    chosen = [s for s in scenarios.ALL if not names or s.name in names]
    servers = [_SERVERS[name] for name in (ours, against) if name]
    turns = plan.make_turns(chosen, servers, runs)
    outcomes = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(turns))
        def say(turn: plan.Turn, text: str) -> None:
            progress.update(bar, description=f"{turn.scenario.name} · {turn.server.name} · {text}")
        for outcome in plan.take(turns, Options(workers, scale, profile), say):
            outcomes.append(outcome)
            progress.advance(bar)
            if outcome.failure:
                console.print(f"[red]{outcome.turn.scenario.name} on {outcome.turn.server.name}: {outcome.failure}")
    rows = rows_of((o.turn.server.name, f) for o in outcomes for f in o.figures)
    console.print(_table(rows, [s.name for s in servers]))
    if not console.is_terminal:
        for o in outcomes:
            for f in o.figures:
                print(o.turn.run, o.turn.server.name, f.line, round(f.value, 2), {k: round(v, 3) for k, v in f.detail.items()})


def _table(rows: list[Row], names: list[str]) -> Table:
    table = Table("line", *names, "unit", *(["ratio", "goal"] if len(names) > 1 else []))
    for row in rows:
        cells = ["–" if (m := row.median(name)) is None else f"{m:,.0f}" if m >= 100 else f"{m:.2f}" for name in names]
        ratio = row.ratio(*names) if len(names) > 1 else None
        more = ["" if ratio is None else f"{ratio:.2f} ×", row.verdict(*names)] if len(names) > 1 else []
        table.add_row(row.line, *cells, row.unit, *more)
    return table


if __name__ == "__main__":
    main()
