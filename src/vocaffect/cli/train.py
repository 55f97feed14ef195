"""The command that makes recognisers, and what commands on runs share."""

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vocaffect.cli.screen import progress_bar
from vocaffect.errors import VocaffectError, need_extra

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from vocaffect.manifest import Manifest
    from vocaffect.recipe import Recipe
    from vocaffect.training.progress import Progress

Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Send each epoch's numbers to tensorboard or mlflow too. Repeatable."),
]
On = Annotated[
    str | None,
    typer.Option("--on", help="Work on Ray: 'ray' for this machine, 'ray://HOST:10001' for a cluster."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="VOCAFFECT_DATA", help="Where the corpora lie.", show_default=False),
]
Workers = Annotated[
    int,
    typer.Option(min=0, callback=lambda given: given or os.cpu_count() or 1, help="Processes; 0: one for each core."),
]

TRAIN_EXAMPLES = """Train a recogniser by a recipe; everything goes into one folder.

Ctrl-C and SIGTERM finish the batch at hand and save; `--resume` goes on from there. A second Ctrl-C ends at once.
Under `torchrun` each process learns from its share of every batch.

Examples:

    vocaffect train --config configs/lstm_mfcc.yaml --run-name first --data-root ~/corpora

    vocaffect train --config configs/lstm_mfcc.yaml --run-name small --set model.hidden_size=64

    vocaffect train --config configs/lstm_mfcc.yaml --run-name six --folds all

    vocaffect train --config configs/lstm_mfcc.yaml --run-name tuned --init-from runs/first --freeze 'model.lstm.*_l0'

    vocaffect train --config configs/crnn_mel.yaml --run-name student --teacher runs/first,other.onnx --temperature 3

    torchrun --nproc-per-node 2 -m vocaffect.cli train --config configs/lstm_mfcc.yaml --run-name two

    vocaffect train --config configs/lstm_mfcc.yaml --run-name far --on ray://head:10001 --processes 4
"""


def register(app: typer.Typer) -> None:
    """Attach the command."""
    app.command(help=TRAIN_EXAMPLES)(train)


def train(
    config: Annotated[Path, typer.Option("--config", help="The recipe, a YAML file.")],
    run_name: Annotated[str, typer.Option("--run-name", help="The run's folder below --runs-dir.")],
    data_root: DataRoot = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key: training.batch_size=16. Repeatable.")
    ] = None,
    folds: Annotated[str, typer.Option(help="'all' for every fold, or a number.", show_default="recipe's")] = "",
    runs_dir: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
    init_from: Annotated[
        Path | None, typer.Option(help="Begin with what fits of a run's best model or a safetensors file.")
    ] = None,
    freeze: Annotated[list[str] | None, typer.Option(help="Hold parameters still: 'model.lstm.*'. Repeatable.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Learn from runs, bundles or files of posteriors: A,B. {fold} is the fold.")
    ] = None,
    distill_weight: Annotated[
        float | None, typer.Option(help="Of the teachers against the labels, 0 to 1.", show_default="recipe's")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Softens what teachers and student say.", show_default="recipe's")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Train though the split leaks.")] = False,
    track: Track = None,
    on: On = None,
    processes: Annotated[int, typer.Option(min=1, help="On Ray: how many share every batch.")] = 1,
) -> None:
    """Train a recogniser by a recipe."""
    need_train_extra()
    from vocaffect.corpora import dropped_sentence
    from vocaffect.experiment import read_data
    from vocaffect.files import cache_folder
    from vocaffect.folds import finished, fold_numbers, refuse_other
    from vocaffect.recipe import read_recipe
    from vocaffect.tracking import check
    from vocaffect.training import ranks

    check(track or [])
    if processes > 1 and not on:
        raise VocaffectError("--processes is for Ray: add --on ray, or start as many by torchrun")
    ranks.join()
    changes = [
        *(changes or []),
        *([f"data.fold={folds}"] if folds not in ("", "all") else []),
        *([f"training.init_from={init_from}"] if init_from else []),
        *([f"training.freeze={json.dumps(freeze)}"] if freeze else []),
        *([f"distillation.teachers={json.dumps(teacher.split(','))}"] if teacher else []),
        *([f"distillation.weight={distill_weight}"] if distill_weight is not None else []),
        *([f"distillation.temperature={temperature}"] if temperature is not None else []),
    ]
    recipe = read_recipe(config, changes)
    folder, root, console = run_folder(runs_dir, run_name), corpora_root(data_root), new_console(quiet=ranks.rank() > 0)

    def read() -> "Manifest":
        tell_dropped = lambda name, words: console.print(dropped_sentence(name, words))  # noqa: E731
        with progress_bar("reading") as progress:
            return read_data(recipe, root, dropped=tell_dropped, progress=progress, cache=cache_folder())

    manifest = ranks.first(read)
    if folds != "all":
        _train_one(recipe, folder, root, manifest, resume, allow_leak, track or [], console, on, processes)
        return
    ranks.first(lambda: refuse_other(recipe, manifest, folder))
    for fold in fold_numbers(recipe, manifest):
        progress = ranks.first(partial(finished, folder / f"fold_{fold}")) if resume else None
        if progress is not None:
            console.print(f"fold {fold}: finished before, {_best(progress)}")
            continue
        one = recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": fold})})
        console.print(f"fold {fold}")
        _train_one(
            one, folder / f"fold_{fold}", root, manifest, resume, allow_leak, track or [], console, on, processes
        )


def _train_one(
    recipe: "Recipe",
    folder: Path,
    data_root: Path,
    manifest: "Manifest",
    resume: bool,
    allow_leak: bool,
    track: list[str],
    console: "Console",
    on: str | None = None,
    processes: int = 1,
) -> None:
    from vocaffect.experiment import start_run, train_run
    from vocaffect.packing import recognizer_of
    from vocaffect.tracking import tracked
    from vocaffect.training import ranks
    from vocaffect.training.stopping import StopAskedError

    run = ranks.first(
        lambda: start_run(recipe, folder, data_root, resume=resume, allow_leak=allow_leak, manifest=manifest)
    )
    trackers = track if ranks.rank() == 0 else []
    with tracked(trackers, folder, recipe.model_dump(mode="json"), console.print) as log, new_bar(console) as bar:
        task = bar.add_task("epoch 1")

        def on_epoch(progress: "Progress") -> None:
            log(progress.rows[-1])
            console.print(_line(progress))
            bar.update(task, description=f"epoch {progress.epoch + 1}", completed=0)

        try:
            if on:
                from vocaffect.cluster import connected, train_on_ray

                with connected(on, processes):
                    progress = train_on_ray(run, data_root, processes, on_epoch=on_epoch, on_note=console.print)
            else:
                progress = train_run(
                    run,
                    resume=resume,
                    on_batch=lambda done, total: bar.update(task, completed=done, total=total),
                    on_epoch=on_epoch,
                    on_taught=lambda done, total: bar.update(
                        task, description="epoch 1" if done == total else "asking teachers", completed=done, total=total
                    ),
                    on_heard=lambda done, total: bar.update(
                        task, description="epoch 1" if done == total else "hearing clips", completed=done, total=total
                    ),
                    on_note=console.print,
                )
        except StopAskedError as stopped:
            bar.stop()
            console.print(f"{stopped}, and saved; the same command with --resume goes on from there with {folder}")
            raise typer.Exit(128 + stopped.signal) from None
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"ended at once; the same command with --resume goes on with {folder} where it was last saved"
            )
            raise typer.Exit(130) from None
    where = ranks.first(lambda: recognizer_of(run).path) or f"{folder}, for Python alone"
    console.print(f"{_best(progress)}; recogniser in {where}")


def _best(progress: "Progress") -> str:
    return f"best epoch {progress.best_epoch}: validation UAR {progress.best_score:.1%}"


def _line(progress: "Progress") -> str:
    row = progress.rows[-1]
    best = "  best" if progress.best_epoch == progress.epoch else ""
    return (
        f"epoch {progress.epoch:3d}  loss {row['train_loss']:.3f}  validation loss {row['validation_loss']:.3f}  "
        f"UAR {row['validation_uar']:.1%}  rate {row['learning_rate']:.2g}{best}"
    )


def new_bar(console: "Console") -> "Bar":
    """A progress bar that is gone when done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def new_console(quiet: bool = False) -> "Console":
    """Where results are printed, as they are."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, quiet=quiet)


def need_train_extra() -> None:
    """Refuse, with the line that mends it, where the training extra is not installed."""
    need_extra("training", "train", "torch", "onnx", "safetensors", "yaml", "matplotlib")


def run_folder(runs_dir: Path, run_name: str) -> Path:
    """The run's folder, which must lie below ``runs_dir``."""
    if not run_name or run_name != Path(run_name).name or run_name.startswith("."):
        raise VocaffectError(f"'{run_name}' is no name for a folder: give a plain one, such as first")
    return runs_dir / run_name


def corpora_root(data_root: Path | None) -> Path:
    """Where the corpora lie.

    Raises:
        VocaffectError: if nobody has said so.
    """
    if data_root is None:
        raise VocaffectError("where do the corpora lie? Pass --data-root FOLDER or set VOCAFFECT_DATA")
    return data_root
