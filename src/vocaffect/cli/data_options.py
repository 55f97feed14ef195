"""The options that several commands of `vocaffect data` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vocaffect.cli.screen import progress_bar

if TYPE_CHECKING:
    from vocaffect.labels import LabelSet
    from vocaffect.manifest import Manifest

DataRoot = Annotated[
    Path,
    typer.Option("--data-root", "-d", envvar="VOCAFFECT_DATA", help="The folder that corpora lie in."),
]
ManifestFile = Annotated[Path, typer.Argument(help="A manifest, as 'vocaffect data prepare' writes it.")]
MovedTo = Annotated[Path | None, typer.Option("--data-root", "-d", help="Where the clips lie now, if they were moved.")]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="VOCAFFECT_CACHE",
        help="Where it is kept what clips sound like, so that none is decoded twice.",
        show_default="the platform's folder for caches",
    ),
]
Labels = Annotated[
    str, typer.Option(help="What to tell apart instead of the eight: 'happy,sad,boredom'.", show_default="the eight")
]


def label_set(names: str) -> "LabelSet | None":
    """The labels that an option names, parted by commas; ``None`` where it names none."""
    from vocaffect.labels import LabelSet

    return LabelSet([name.strip() for name in names.split(",")]) if names else None


def read_and_tell(
    corpus: str, data_root: Path, partial: bool, labels: str, cache_dir: Path | None
) -> "tuple[Manifest, list[str]]":
    """The clips that a command's options name, and sentences about those that have no place among the labels."""
    from vocaffect.corpora import dropped_sentence
    from vocaffect.files import cache_folder
    from vocaffect.sources import read_clips

    left_out: list[str] = []
    with progress_bar("reading") as progress:
        manifest = read_clips(
            corpus,
            data_root,
            partial=partial,
            labels=label_set(labels),
            dropped=lambda name, words: left_out.append(dropped_sentence(name, words)),
            progress=progress,
            cache=cache_dir or cache_folder(),
        )
    return manifest, left_out
