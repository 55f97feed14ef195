"""`vocaffect sweep`: try values of a recipe's keys, and keep what held-out speakers like best."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vocaffect.cli.train import DataRoot, On, Track, corpora_root, new_bar, new_console, run_folder
from vocaffect.errors import need_extra

if TYPE_CHECKING:
    from vocaffect.training.progress import Progress

HELP = """Try values of a recipe's keys; what held-out training speakers are recognised best by is kept.

Every trial is a run of its own. The test side is never opened. Ctrl-C is safe: the same command goes on, and a larger
--trials goes further.

Ranges are `uniform(0,0.5)`, `log(1e-4,1e-2)`, `int(1,3)`, `logint(32,256)` and `choice(lstm,gru)`; a --space file may
also hold lists.

Examples:

    vocaffect sweep --config configs/lstm_mfcc.yaml --sweep-name rate --set 'training.learning_rate=log(1e-4,1e-2)'

    vocaffect sweep --config configs/lstm_mfcc.yaml --sweep-name wide --space space.yaml --trials 50

    vocaffect sweep --config configs/lstm_mfcc.yaml --sweep-name far --space space.yaml --on ray://head:10001
"""


def register(app: typer.Typer) -> None:
    """Attach the command to the command line."""
    app.command(help=HELP)(sweep)


def sweep(
    config: Annotated[Path, typer.Option("--config", help="The recipe that is varied, a YAML file.")],
    sweep_name: Annotated[str, typer.Option("--sweep-name", help="The sweep's folder below --runs-dir.")],
    data_root: DataRoot = None,
    space: Annotated[Path | None, typer.Option("--space", help="A YAML file of keys and ranges.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A range, training.learning_rate=log(1e-4,1e-2), or a value. Repeatable."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many trials the whole sweep has.")] = 20,
    storage: Annotated[
        str,
        typer.Option(help="Where Optuna keeps its records: sqlite, in the sweep's folder, or a database's address."),
    ] = "sqlite",
    runs_dir: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
    track: Track = None,
    on: On = None,
) -> None:
    """Try values of a recipe's keys."""
    need_extra("training", "train", "torch", "onnx", "safetensors", "yaml", "matplotlib")
    need_extra("sweeping", "tune", "optuna", "sqlalchemy", "filelock")
    from vocaffect.recipe import read_recipe
    from vocaffect.search_space import read_space, split_changes
    from vocaffect.sweep import open_sweep, run_sweep
    from vocaffect.tracking import check
    from vocaffect.training.stopping import StopAskedError
    from vocaffect.trials import best_row

    check(track or [])
    plain, ranges = split_changes(changes or [])
    ranges = {**(read_space(space) if space else {}), **ranges}
    folder, screen = run_folder(runs_dir, sweep_name), new_console()
    opened = open_sweep(read_recipe(config, plain), ranges, folder, corpora_root(data_root))
    with new_bar(screen) as progress_bar:
        task = progress_bar.add_task("trials", total=trials)

        def on_epoch(number: int, progress: "Progress") -> None:
            progress_bar.update(task, description=f"trial {number}, epoch {progress.epoch + 1}")

        def on_trial(row: Mapping[str, Any]) -> None:
            screen.print(_line(row))
            progress_bar.update(task, completed=row["trial"] + 1)

        try:
            options: dict[str, Any] = {"storage": storage, "track": track or [], "on_trial": on_trial}
            if on:
                from vocaffect.cluster import connected, sweep_on_ray

                with connected(on):
                    rows = sweep_on_ray(opened, trials, **options)
            else:
                rows = run_sweep(opened, trials, **options, on_epoch=on_epoch)
        except (StopAskedError, KeyboardInterrupt) as stopped:
            progress_bar.stop()
            screen.print(f"stopped; the same command goes on with {folder}")
            raise typer.Exit(128 + getattr(stopped, "signal", 2)) from None
    if best := best_row(rows):
        screen.print(f"best of {len(rows)}: trial {best['trial']}, validation UAR {best['validation_uar']:.1%}")
        screen.print(f"its recipe: {folder / 'best.yaml'}; all trials: {folder / 'trials.png'}")


def _line(row: Mapping[str, Any]) -> str:
    uar = "-" if row["validation_uar"] is None else f"{row['validation_uar']:.1%}"
    values = (
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in row["values"].items()
    )
    words = [f"trial {row['trial']:3d}", f"UAR {uar:>6}", f"{row['state']:7}", f"{row['epochs']:3d} epochs", *values]
    return "  ".join([*words, row["error"]]).rstrip()
