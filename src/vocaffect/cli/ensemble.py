"""`vocaffect ensemble`: several recognisers as one."""

from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.screen import progress_bar
from vocaffect.cli.train import DataRoot
from vocaffect.errors import VocaffectError, need_extra


def register(app: typer.Typer) -> None:
    """Attach the command to the command line."""
    app.command()(ensemble)


def ensemble(
    members: Annotated[list[str], typer.Argument(help="Runs or bundles, at least two.", metavar="RUN|BUNDLE...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A bundle, x.onnx, or the folder of a new run.")],
    combine: Annotated[str, typer.Option(help="What is added: 'logits' or 'posteriors'.")] = "logits",
    fit_weights: Annotated[
        bool, typer.Option("--fit-weights", help="Weigh the members by what validation speakers say.")
    ] = False,
    name: Annotated[str, typer.Option(help="What the ensemble is called.")] = "ensemble",
    data_root: DataRoot = None,
) -> None:
    """Make one recogniser of several: their decisions are added, in one file.

    Runs bring their validation speakers, on whom the ensemble is calibrated and its weights can be fitted; bundles
    alone are weighed alike. Into a folder goes a run that can be tested, verified and be a teacher like any other;
    runs of all folds are paired fold by fold.

    Examples:

        vocaffect ensemble runs/lstm runs/tcn -o runs/both --fit-weights

        vocaffect ensemble first.onnx second.onnx live -o three.onnx --combine posteriors
    """  # noqa: D412
    need_extra("an ensemble", "train", "torch", "onnx", "yaml")
    from vocaffect.bundle import read_card
    from vocaffect.ensembles import Plan, ensemble_file, ensemble_run
    from vocaffect.files import cache_folder

    if combine not in ("logits", "posteriors"):
        raise VocaffectError(f"--combine is 'logits' or 'posteriors', not '{combine}': choose one of them")
    plan, cache = (
        Plan("logits" if combine == "logits" else "posteriors", fit_weights, name),
        cache_folder() / "posteriors",
    )
    with progress_bar("asking members") as progress:
        if output.suffix == ".onnx":
            written = [ensemble_file(members, output, plan, data_root=data_root, cache=cache, on_clip=progress)]
        else:
            written = ensemble_run(members, output, plan, data_root=data_root, cache=cache, on_clip=progress)
    for path in written:
        card = read_card(path)
        weights = ", ".join(f"{member['name']} {member['weight']:.2f}" for member in card.recipe["members"])
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {card.streaming} by {card.streaming}; {weights}")
