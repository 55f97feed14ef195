"""The command that lists models: how large, how costly, how soon each answers."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vocaffect.cli.screen import new_table, show
from vocaffect.errors import VocaffectError

if TYPE_CHECKING:
    from vocaffect.models import Model
    from vocaffect.models.cost import Cost
    from vocaffect.recipe import Recipe

COLUMNS = ("model", "parameters", "multiply-adds/s", "latency", "runs", "what it is")


def register(app: typer.Typer) -> None:
    """Attach the command."""
    app.command("models")(list_models)


def list_models(
    config: Annotated[
        Path | None, typer.Option("--config", help="A recipe: its features, its window, its model as it says.")
    ] = None,
) -> None:
    """List the models that a recipe can name: parameters, cost of a second of audio, and how soon each answers.

    Models have their default sizes, that of a recipe the recipe's. Counted are the products of matrices and the
    convolutions behind the features, in windows that overlap each time anew.

    Examples: `vocaffect models`, `vocaffect models --config configs/crnn_mel.yaml`
    """
    if missing := [name for name in ("torch", "yaml") if find_spec(name) is None]:
        raise VocaffectError(f"models need {' and '.join(missing)}: pip install 'vocaffect[train]'")
    from vocaffect.features import FrontEnd
    from vocaffect.models import model_names
    from vocaffect.models.cost import cost
    from vocaffect.plugins import load_plugins
    from vocaffect.recipe import make_recipe, read_recipe

    recipe = read_recipe(config) if config else make_recipe({})
    load_plugins(recipe.plugins)
    frontend, window = FrontEnd(**recipe.frontend.model_dump()), recipe.window
    table = new_table(*COLUMNS, numbers="parameters multiply-adds/s latency")
    for name in model_names():
        model = _model(name, frontend.num_features, recipe)
        hop = model.hop or frontend.hop
        size = hop if model.hears == "waveform" else frontend.num_features
        found = cost(model, size, hop, window.length_s, window.hop_s)
        table.add_row(name, *_cells(found, recipe), (type(model).__doc__ or "").partition("\n")[0])
    show(table)


def _model(name: str, num_features: int, recipe: "Recipe") -> "Model":
    from vocaffect.labels import EMOTIONS
    from vocaffect.models import build_model

    given = recipe.model.parameters if name == recipe.model.name else {}
    return build_model(name, num_features=num_features, num_labels=len(EMOTIONS), **given)


def _cells(found: "Cost", recipe: "Recipe") -> list[str]:
    whole = f"on {recipe.window.length_s:g} s every {recipe.window.hop_s:g} s"
    return [
        f"{found.num_parameters:,}",
        f"{found.multiply_adds_per_s / 1e6:,.1f} M",
        f"{1000 * found.latency_s:g} ms",
        whole if found.streaming == "window" else "frame by frame",
    ]
