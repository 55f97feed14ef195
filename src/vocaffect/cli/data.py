"""`vocaffect data`: get corpora, make manifests of them, split those, and audit both."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vocaffect.cli.data_options import CacheDir, DataRoot, Labels, ManifestFile, MovedTo, label_set, read_and_tell
from vocaffect.cli.screen import new_table, progress_bar, show
from vocaffect.cli.shards import shard
from vocaffect.cli.tables import print_findings, print_manifest, print_pairs, print_statistics

if TYPE_CHECKING:
    from vocaffect.manifest import Manifest
    from vocaffect.splits import Split

MOST_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Attach the commands to the command line."""
    data = typer.Typer(
        help="Get corpora, make manifests of them, split those, and audit both.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    for command in (download, prepare, stats, audit, split, shard):
        data.command()(command)
    data.command("list")(list_known)
    app.add_typer(data, name="data")


def download(
    corpus: Annotated[str, typer.Argument(help="The corpus, as ravdess; see 'vocaffect data list'.")],
    data_root: DataRoot = Path("data"),
    url: Annotated[str | None, typer.Option(help="A mirror; size and MD5 stay the official ones.")] = None,
    keep_archive: Annotated[bool, typer.Option(help="Keep the zip after unpacking it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
) -> None:
    """Fetch a corpus from where it is published, check it, and unpack it.

    A download that was cut goes on where it stopped when the same command is run again.

    Examples:

        vocaffect data download ravdess --dry-run

        vocaffect data download ravdess --data-root ~/speech
    """  # noqa: D412
    from vocaffect.corpora import get_corpus
    from vocaffect.corpora.download import download as fetch_and_unpack
    from vocaffect.corpora.download import official_archive, partial_bytes

    known = get_corpus(corpus)
    archive = official_archive(known)
    print_pairs(
        {
            "corpus": f"{known.title}, {known.num_clips:,} clips",
            "from": url or archive.url,
            "to": str(data_root / corpus),
            "size": f"{archive.num_bytes:,} bytes ({partial_bytes(archive, data_root):,} here already)",
            "MD5": archive.md5,
            "licence": known.licence,
            "cite": known.citation,
        }
    )
    if dry_run:
        return
    with progress_bar("fetching", in_bytes=True) as progress:
        folder = fetch_and_unpack(known, data_root, url=url, keep_archive=keep_archive, progress=progress)
    typer.echo(f"{known.num_clips:,} clips lie in {folder}; next: vocaffect data prepare {corpus} -d {data_root}")


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(help="A known corpus or several (ravdess+tess), 'folder', a table.csv, or reader.py:Name."),
    ],
    data_root: Annotated[
        Path | None,
        typer.Option(
            "--data-root",
            "-d",
            help="The folder that the clips lie in. [default: $VOCAFFECT_DATA or data; a table's own folder]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The manifest to write: .csv or .parquet. [default: NAME-manifest.csv]"),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a corpus that lacks clips.")] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out unusable clips.")] = False,
    labels: Labels = "",
    cache_dir: CacheDir = None,
) -> None:
    """Read a corpus, or speech of your own, into a manifest: one row a clip, with a hash of its sound.

    Your own speech is a folder of `label/clip.wav` (or `label/speaker/clip.wav`), a CSV with the columns
    path, emotion and speaker, or whatever a class or a function of yours reads.

    Examples:

        vocaffect data prepare ravdess --data-root ~/speech

        vocaffect data prepare ravdess+tess --data-root ~/speech -o english.csv

        vocaffect data prepare folder --data-root ~/my-clips -o mine.parquet

        vocaffect data prepare my-clips.csv -o mine.csv

        vocaffect data prepare my_reader.py:MyCorpus --data-root ~/my-clips
    """  # noqa: D412
    from vocaffect.corpora import dropped_sentence
    from vocaffect.corpora import prepare as read_corpus
    from vocaffect.errors import VocaffectError
    from vocaffect.files import cache_folder
    from vocaffect.plugins import load_installed

    load_installed()
    is_table = corpus.lower().endswith(".csv")
    default = Path(corpus).parent if is_table else Path(os.environ.get("VOCAFFECT_DATA", "data"))
    target = output or Path(f"{Path(corpus.rpartition(':')[0] or corpus).stem}-manifest.csv")
    if target.suffix not in (".csv", ".parquet") or (is_table and target.resolve() == Path(corpus).resolve()):
        raise VocaffectError(f"{target} cannot be the manifest: name another file, .csv or .parquet, with -o")
    left_out: list[str] = []
    with progress_bar("reading") as progress:
        manifest = read_corpus(
            corpus,
            data_root or default,
            partial=partial,
            skip_broken=skip_broken,
            progress=progress,
            dropped=lambda name, words: left_out.append(dropped_sentence(name, words)),
            labels=label_set(labels),
            cache=cache_dir or cache_folder(),
        )
    manifest.write(target)
    if len(manifest.corpora) > 1:
        print_manifest(manifest, "corpus")
    print_manifest(manifest, "emotion")
    for sentence in left_out:
        typer.echo(sentence)
    typer.echo(f"{target}: {len(manifest):,} clips, content hash {manifest.hash}")


def stats(
    corpus: Annotated[str, typer.Argument(help="Known corpora (ravdess+tess), a manifest, or a table.csv.")],
    data_root: DataRoot = Path("data"),
    labels: Labels = "",
    partial: Annotated[bool, typer.Option(help="Accept corpora that lack clips.")] = True,
    cache_dir: CacheDir = None,
) -> None:
    """Count clips, speakers, hours and labels of each corpus.

    Examples:

        vocaffect data stats ravdess+tess --data-root ~/speech

        vocaffect data stats english.csv --labels happy,sad,angry
    """  # noqa: D412
    manifest, left_out = read_and_tell(corpus, data_root, partial, labels, cache_dir)
    print_statistics(manifest)
    for sentence in left_out:
        typer.echo(sentence)


def split(
    manifest: ManifestFile,
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", help="How to split; see 'vocaffect data list'.")
    ] = "speaker-kfold",
    fold: Annotated[int | None, typer.Option(help="One fold only. [default: all]")] = None,
    folds: Annotated[int | None, typer.Option(help="How many folds speaker-kfold makes.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other folds and validation sides.")] = 0,
    validation: Annotated[float, typer.Option(help="The part of the training side to validate on.")] = 0.2,
    train_only: Annotated[
        list[str] | None, typer.Option(help="A corpus that all folds train on and none tests. Repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("splits"),
) -> None:
    """Split a manifest into train, validation and test sides, and store each fold as a file.

    Examples:

        vocaffect data split ravdess-manifest.csv --protocol ravdess-emobox6

        vocaffect data split mine.csv --folds 10 --seed 7 -o splits
    """  # noqa: D412
    from vocaffect.manifest import Manifest
    from vocaffect.splits import audit as find_leaks
    from vocaffect.splits import make_split, num_folds

    clips = Manifest.read(manifest)
    count = num_folds(protocol, clips, folds, train_only or ())
    chosen = range(1, count + 1) if fold is None else [fold]
    splits = [make_split(clips, protocol, number, seed, validation, folds, train_only or ()) for number in chosen]
    columns = ("fold", "train", "validation", "test", "leaks", "speakers tested")
    table = new_table(*columns, numbers="train validation test")
    for made in splits:
        made.write(_split_file(output, protocol, made.fold))
        leaks = "yes" if find_leaks(clips, made, listen=False).leaks else "none"
        sides = [f"{len(side):,}" for side in (made.train, made.validation, made.test)]
        table.add_row(f"{made.fold} of {count}", *sides, leaks, _tested(clips, made))
    show(table)
    for number in chosen:
        typer.echo(_split_file(output, protocol, number))


def audit(
    manifest: ManifestFile,
    splits: Annotated[
        list[Path] | None,
        typer.Option("--split", "-s", help="A split to check too; may be given more than once."),
    ] = None,
    data_root: MovedTo = None,
    listen: Annotated[bool, typer.Option(help="Decode every clip, or take the manifest's word.")] = True,
    show_all: Annotated[bool, typer.Option("--all", help="Print every finding of every kind.")] = False,
) -> None:
    """Look for leaks between the sides of a split, repeated audio, and clips that cannot be used.

    Ends with exit code 2 if something leaks or a clip cannot be read.

    Examples:

        vocaffect data audit ravdess-manifest.csv

        vocaffect data audit ravdess-manifest.csv --split splits/ravdess-emobox6-fold1.json --no-listen
    """  # noqa: D412
    from vocaffect.manifest import Manifest
    from vocaffect.splits import Split
    from vocaffect.splits import audit as examine

    clips = Manifest.read(manifest, data_root)
    chosen = [Split.read(path) for path in splits or []]
    with progress_bar("listening") as progress:
        findings = list(examine(clips, listen=listen, progress=progress).findings)
    for one in chosen:
        findings += [finding for finding in examine(clips, one, listen=False).findings if finding.leak]
    print_findings(findings, None if show_all else MOST_SHOWN)
    sides = f", {len(chosen)} split{'s' * (len(chosen) != 1)}" if chosen else ""
    typer.echo(f"{len(clips):,} clips{sides}: {len(findings):,} finding{'s' * (len(findings) != 1)}")
    if any(finding.leak or finding.unusable for finding in findings):
        raise typer.Exit(2)


def list_known() -> None:
    """List the corpora and the protocols that are known.

    Example:

        vocaffect data list
    """  # noqa: D412
    from vocaffect.corpora import corpus_names, get_corpus
    from vocaffect.plugins import load_installed
    from vocaffect.splits import protocols

    load_installed()
    corpora = new_table("corpus", "what", "clips", "language", "licence", "download", numbers="clips")
    for known in map(get_corpus, corpus_names()):
        clips = f"{known.num_clips:,}" if known.num_clips else ""
        corpora.add_row(known.name, known.title, clips, known.language, known.licence, "yes" * bool(known.archive))
    show(corpora)
    table = new_table("protocol", "folds", "what", numbers="folds")
    for protocol in protocols().values():
        table.add_row(protocol.name, str(protocol.num_folds or ""), protocol.about)
    show(table)


def _split_file(folder: Path, protocol: str, fold: int) -> Path:
    return folder / f"{protocol}-fold{fold}.json"


def _tested(clips: "Manifest", made: "Split") -> str:
    speakers = clips.select_paths(made.test).speakers
    return ", ".join(speakers) if len(speakers) <= 5 else f"{len(speakers)}: {speakers[0]} ... {speakers[-1]}"
