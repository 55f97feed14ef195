"""`vocaffect posteriors`: what recognisers say about clips, written down for students to learn from."""

from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.screen import progress_bar
from vocaffect.cli.train import DataRoot
from vocaffect.errors import need_extra


def register(app: typer.Typer) -> None:
    """Attach the command to the command line."""
    app.command()(posteriors)


def posteriors(
    recognizers: Annotated[str, typer.Argument(help="Runs or bundles, several as A,B.", metavar="RUN|BUNDLE[,..]")],
    data: Annotated[str, typer.Option("--data", help="Corpora (ravdess+tess) or a manifest.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The table: .npz, .csv or .parquet.")],
    data_root: DataRoot = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept corpora that lack clips.")] = False,
) -> None:
    """Write down what recognisers say about clips, on average; `train --teacher FILE` learns from it.

    Of a run of several folds only those speak about a clip that have never learned from its voice: what such a
    cross-fitted teacher says of training clips is honest, and the better for it.

    Example: `vocaffect posteriors runs/inner --data train.csv -o teacher.npz`
    """
    need_extra("posteriors", "train", "torch", "yaml")
    from vocaffect.distillation import tell
    from vocaffect.experiment import read_data
    from vocaffect.files import cache_folder
    from vocaffect.posteriors import require_suffix
    from vocaffect.recipe import make_recipe

    require_suffix(output)
    recipe = make_recipe({"data": {"corpus": data, "partial": partial}})
    manifest = read_data(recipe, data_root or Path("data"))
    with progress_bar("asking") as progress:
        table, num_known = tell(recognizers.split(","), manifest, cache_folder() / "posteriors", progress)
    table.write(output)
    typer.echo(f"{output}: {len(table):,} clips, {len(table.labels)} labels")
    if num_known:
        typer.echo(f"{num_known:,} clips are told by recognisers that have learned from their voices")
