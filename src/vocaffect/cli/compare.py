"""`vocaffect compare`: which of several tested runs is better, and how sure that is."""

from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.screen import new_table, show
from vocaffect.errors import need_extra


def register(app: typer.Typer) -> None:
    """Attach the command to the command line."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="The folders of tested runs, of one fold or of all.", metavar="RUN...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Compare tested runs, in a table and on a page with curves, recalls, confusion matrices and changed keys.

    Every pair's difference in UAR comes with an interval from resampling speakers, the same for both runs. All runs
    must have been tested on the same clips in the same folds.

    Example: `vocaffect compare runs/lstm runs/crnn -o lstm-crnn.html`
    """
    need_extra("comparing", "train", "matplotlib", "yaml")
    from vocaffect.comparison import compare as compare_runs
    from vocaffect.comparison_page import PAIR_COLUMNS, RUN_COLUMNS, pair_row, run_row, write_page

    comparison = compare_runs(runs)
    table = new_table(*RUN_COLUMNS, numbers="UAR WAR macro-F1 ECE")
    for run in comparison.runs:
        table.add_row(*run_row(run))
    show(table)
    table = new_table(*PAIR_COLUMNS)
    for pair in comparison.pairs:
        table.add_row(*pair_row(pair))
    show(table)
    typer.echo(f"curves, recalls and confusion matrices: {write_page(comparison, output)}")
