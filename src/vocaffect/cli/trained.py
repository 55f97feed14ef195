"""Commands on what was trained: test, export, verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vocaffect.cli.train import DataRoot, Workers, need_train_extra, new_bar, new_console
from vocaffect.errors import VocaffectError

if TYPE_CHECKING:
    from rich.table import Table

RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")]


def register(app: typer.Typer) -> None:
    """Attach the commands."""
    app.command("test")(measure)
    app.command()(export)
    app.command("verify")(verify_command)


def measure(
    run: RunFolder,
    data_root: DataRoot = None,
    robustness: Annotated[bool, typer.Option(help="Also hear each clip in noise, on the telephone and so on.")] = True,
    live: Annotated[bool, typer.Option(help="Also ask what is decided as each clip goes on.")] = True,
    workers: Workers = 0,
) -> None:
    """Test a run's exported recogniser on speakers it has never heard; a run of all folds is pooled.

    Writes RUN/test: metrics.json, confusion_matrix.png, reliability.png, uar_by_seconds.png, report.md and report.html.

    Example: `vocaffect test runs/first`
    """
    need_train_extra()
    from vocaffect.testing import measure_run

    console = new_console()
    with new_bar(console) as bar:
        task = bar.add_task("clips")
        on_clip = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731
        evaluation = measure_run(run, data_root, on_clip, robustness=robustness, live=live, workers=workers)
    console.print(_summary(evaluation))
    console.print(f"everything else in {run / 'test'}")


def export(
    run: RunFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write.")],
    data_root: DataRoot = None,
    metrics_from: Annotated[
        Path | None, typer.Option(help="A tested run whose numbers the card shall tell, as of its folds.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the recogniser is called.")] = None,
) -> None:
    """Pack a run's best model into one file: samples and state in, decisions out, its card inside.

    Example: `vocaffect export runs/first -o first.onnx`
    """
    need_train_extra()
    from vocaffect.bundle import read_card
    from vocaffect.packing import export_run, tested_folds
    from vocaffect.runs import fold_folders, open_run

    if fold_folders(run) != [run]:
        raise VocaffectError(f"{run} holds one model for each fold: name one of them, such as {run / 'fold_1'}")
    metrics = tested_folds(metrics_from) if metrics_from else None
    if metrics == {}:
        raise VocaffectError(f"{metrics_from} was not tested: run 'vocaffect test {metrics_from}' first")
    path = export_run(open_run(run, data_root), output, metrics=metrics, name=name)
    card = read_card(path)
    new_console().print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, {card.streaming} by {card.streaming}, {card.digest}"
    )


def verify_command(
    target: Annotated[
        str, typer.Argument(help="A run, a bundle or a shipped recogniser's name.", metavar="RUN|BUNDLE")
    ],
    data_root: DataRoot = None,
) -> None:
    """Prove that a recogniser answers alike however it is run; exits 1 where it does not.

    Compares torch with ONNX (for a run), the whole clip with frame by frame and with random chunks, a batch with
    solo, and the golden vector.

    Examples: `vocaffect verify runs/first`, `vocaffect verify live`
    """
    from rich.table import Table

    from vocaffect.recognizer import Recognizer
    from vocaffect.verification import verify

    if Path(target).is_dir():
        need_train_extra()
        from vocaffect.packing import for_verification

        recognizer, clips, reference = for_verification(Path(target), data_root)
    else:
        recognizer, clips, reference = Recognizer.load(target), [], None
    checks = verify(recognizer, clips, reference)
    table = Table("check", "largest difference", "allowed", "", title=f"{target}: posteriors")
    for check in checks:
        verdict = "ok" if check.passed else "MISMATCH"
        table.add_row(check.name, f"{check.difference:.2e}", f"{check.allowed:g}", verdict)
    new_console().print(table)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _summary(evaluation: dict[str, Any]) -> "Table":
    from rich.table import Table

    fair = "speakers never heard in training" if evaluation["speaker_disjoint"] else "LEAKY: voices known from training"
    columns = ("measure", "value", "95 % interval", *["deviation over folds"] * (evaluation["num_folds"] > 1))
    table = Table(*columns, title=f"{evaluation['protocol']}, {fair}")
    for key, label in (("uar", "UAR"), ("war", "accuracy (WAR)"), ("macro_f1", "macro-F1")):
        found, deviation = evaluation[key], evaluation["fold_deviation"][key]
        interval = "" if found["low"] is None else f"{found['low']:.1%} to {found['high']:.1%}"
        table.add_row(
            label, f"{found['value']:.1%}", interval, *[f"{100 * (deviation or 0):.1f} points"][: len(columns) - 3]
        )
    for fold, row in evaluation["per_fold"].items():
        table.add_row(f"UAR, fold {fold}", f"{row['uar']:.1%}", "")
    known = evaluation["adaptation"] or {"adapted": None, "skewed": {}}
    for name, found in {"adapted to the voice": known["adapted"], **known["skewed"]}.items():
        if found:
            interval = "" if found["low"] is None else f"{found['low']:.1%} to {found['high']:.1%}"
            table.add_row(f"UAR, {name.replace('_', ' ')}", f"{found['value']:.1%}", interval)
    calibration = evaluation["calibration"]
    table.add_row("ECE calibrated", f"{calibration['ece']:.1%}", f"{calibration['ece_uncalibrated']:.1%} before")
    if calibration["ece_as_exported"] is not None:
        table.add_row("ECE calibrated as exported", f"{calibration['ece_as_exported']:.1%}", "by the other folds")
    for row in evaluation["by_seconds"]:
        table.add_row(f"UAR after {row['seconds']:g} s", f"{row['value']:.1%}", "")
    for row in evaluation["robustness"]:
        table.add_row(f"UAR, {row['condition']}", f"{row['uar']:.1%}", f"{100 * row['drop']:.1f} points lost")
    return table
