"""`vocaffect data shard`: pack clips into tar files that training reads without unpacking."""

from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.data_options import CacheDir, DataRoot, Labels, read_and_tell
from vocaffect.cli.screen import progress_bar


def shard(
    corpus: Annotated[str, typer.Argument(help="A manifest, a table.csv, or known corpora (ravdess+tess).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the shards.")],
    data_root: DataRoot = Path("data"),
    shard_mb: Annotated[float, typer.Option(min=0.001, help="Millions of bytes of a shard.")] = 256.0,
    labels: Labels = "",
    partial: Annotated[bool, typer.Option("--partial", help="Accept corpora that lack clips.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Pack clips into tar files, 16 kHz mono FLAC, for corpora that are larger than memory.

    Training takes the folder's shards.json as data.corpus. The same command goes on where it was interrupted. Others
    can read the shards too: they are laid out as webdataset expects.

    Examples:

        vocaffect data shard ravdess+tess --data-root ~/speech -o shards

        vocaffect data shard english.csv -o shards --shard-mb 64
    """  # noqa: D412
    from vocaffect.shards import INDEX, write_shards

    manifest, left_out = read_and_tell(corpus, data_root, partial, labels, cache_dir)
    with progress_bar("packing") as progress:
        packed = write_shards(manifest, output, shard_mb, progress)
    for sentence in left_out:
        typer.echo(sentence)
    tars = sorted({packed.audio_path(clip).parts[len(packed.root.parts)] for clip in packed})
    size = sum((packed.root / tar).stat().st_size for tar in tars)
    typer.echo(f"{output / INDEX}: {len(packed):,} clips in {len(tars)} shards, {size / 1e6:.1f} MB")
