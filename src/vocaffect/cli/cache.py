"""`vocaffect cache`: compute the features of clips once, beforehand, by several processes."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vocaffect.cli.screen import new_table, progress_bar, show
from vocaffect.cli.train import On, Workers
from vocaffect.errors import VocaffectError
from vocaffect.files import cache_folder

if TYPE_CHECKING:
    from vocaffect.precompute import Extraction
    from vocaffect.recipe import Recipe

MOST_SHOWN = 10
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="The cache's folder. [default: features, in $VOCAFFECT_CACHE]")
]
FILL_EXAMPLES = """Compute the features of clips once, for every training that names the folder as `training.cache_dir`.

What is there already is left as it is, so the same command goes on where it was stopped.

Examples:

    vocaffect cache --data-root ~/corpora --feature mfcc --cache-dir cache

    vocaffect cache --data-root ~/corpora --config configs/crnn_mel.yaml --workers 8

    vocaffect cache --data-root ~/corpora --cache-dir cache --on ray://head:10001

    vocaffect cache info --cache-dir cache

    vocaffect cache clear --cache-dir cache
"""


def register(app: typer.Typer) -> None:
    """Attach the command and those below it."""
    cache = typer.Typer(rich_markup_mode="markdown")
    cache.callback(invoke_without_command=True, help=FILL_EXAMPLES)(fill_cache)
    cache.command()(info)
    cache.command()(clear)
    app.add_typer(cache, name="cache")


def fill_cache(
    context: typer.Context,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", "-d", envvar="VOCAFFECT_DATA", help="Where the clips lie.", show_default=False),
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="A feature by its name. Repeatable. [default: the recipe's]")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A recipe: its corpora, features, trimming.")] = None,
    cache_dir: CacheDir = None,
    workers: Workers = 0,
    on: On = None,
) -> None:
    """Compute the features of all clips below a folder, or of a recipe's corpora."""
    if context.invoked_subcommand is not None:
        return
    if data_root is None:
        raise VocaffectError("where do the clips lie? Pass --data-root FOLDER or set VOCAFFECT_DATA")
    from vocaffect.precompute import fill

    recipe = _recipe(config, feature)
    folder = _folder(cache_dir, recipe.training.cache_dir)
    clips, counts = _clips(recipe if config else None, data_root), Counter[str]()
    ways = _extractions(recipe)
    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar("computing"))
        if on:
            from vocaffect.cluster import connected, fill_on_ray

            stack.enter_context(connected(on))
            told_by = (fill_on_ray(way, folder, clips, recipe.plugins) for way in ways)
        else:
            told_by = (fill(way, folder, clips, workers) for way in ways)
        results = chain.from_iterable(told_by)
        for done, (outcome, why) in enumerate(results, 1):
            counts[outcome] += 1
            if why and counts["unreadable"] <= MOST_SHOWN:
                typer.echo(f"error: {why}", err=True)
            progress(done, len(ways) * len(clips))
    heard = f" in {len(ways)} ways" if len(ways) > 1 else ""
    damaged = f" ({counts['mended']:,} anew: what was there was damaged)" if counts["mended"] else ""
    computed = counts["computed"] + counts["mended"]
    typer.echo(
        f"{folder}: {len(clips):,} clips{heard}, {computed:,} computed{damaged}, {counts['found']:,} there "
        f"already, {counts['unreadable']:,} unreadable"
    )
    if counts["unreadable"]:
        raise typer.Exit(2)


def info(cache_dir: CacheDir = None) -> None:
    """Say what a cache holds.

    Example: `vocaffect cache info --cache-dir cache`
    """
    from vocaffect.cache import stored

    table = new_table("name", "features", "trimmed", "clips", "MB", numbers="clips MB")
    for each in stored(_folder(cache_dir)):
        features = ", ".join(f"{name} {_pairs(given)}".strip() for name, given in each.settings["features"].items())
        features += _heard_by(each.settings)
        trim = each.settings["trim"]
        trimmed = f"below {trim['below_db']:g} dB" if trim else "no"
        table.add_row(each.name, features, trimmed, f"{each.num_clips:,}", f"{each.num_bytes / 1e6:,.1f}")
    show(table)


def clear(cache_dir: CacheDir = None) -> None:
    """Remove all that a cache holds; other files in its folder stay.

    Example: `vocaffect cache clear --cache-dir cache`
    """
    from vocaffect.cache import clear as remove

    folder = _folder(cache_dir)
    typer.echo(f"{folder}: {remove(folder):,} entries removed")


def _folder(given: Path | None, named: str | None = None) -> Path:
    """The cache's folder: as it was given, as a recipe names it, or where such things are kept."""
    return given or (Path(named) if named else cache_folder() / "features")


def _recipe(config: Path | None, features: list[str] | None) -> "Recipe":
    from vocaffect.features import registered
    from vocaffect.plugins import load_plugins
    from vocaffect.recipe import make_recipe, read_recipe

    changes = [f"frontend.features=[{', '.join(features)}]"] if features else []
    recipe = read_recipe(config, changes) if config else make_recipe({}, changes)
    load_plugins(recipe.plugins)
    for name in recipe.frontend.features:
        registered(name)
    return recipe


def _extractions(recipe: "Recipe") -> "list[Extraction]":
    """What training by the recipe computes of a clip; before a frozen encoder, what validation computes too."""
    from vocaffect.runs import extractions, stem_of, training_trim

    network = stem_of(recipe)
    ways = extractions(recipe, training_trim(recipe), network)
    return ways if network is None else [*ways, extractions(recipe, None, network)[0]]


def _clips(recipe: "Recipe | None", data_root: Path) -> list[Path]:
    """All clips of a recipe's corpora, or below a folder."""
    from vocaffect.corpora import find_clips, resolve_corpora
    from vocaffect.manifest import Manifest

    if not data_root.is_dir():
        raise VocaffectError(f"there is no folder {data_root}: pass the folder of the clips as --data-root")
    if recipe is None:
        if not (clips := list(find_clips(data_root))):
            raise VocaffectError(f"no audio file lies under {data_root}: pass the folder of the clips as --data-root")
        return clips
    with suppress(VocaffectError):
        manifest = Manifest.read(recipe.data.corpus)
        return [manifest.audio_path(utterance) for utterance in manifest]
    readers = resolve_corpora(recipe.data.corpus)
    return [reader.locate(data_root) / entry.path for reader in readers for entry in reader.collect(data_root)]


def _heard_by(settings: Mapping[str, Any]) -> str:
    """Which layers of which encoder have heard the clips, and in which way."""
    stem, augment = settings.get("stem"), settings.get("augment")
    if stem is None:
        return ""
    encoder = stem["encoder"] if isinstance(stem["encoder"], str) else stem["encoder"].get("model_type", "")
    layers = " ".join(map(str, stem["layers"]))
    return f", {encoder} {layers}" + (f", copy {augment['take']}" if augment else "")


def _pairs(given: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
