"""Where clips come from: corpora, shards, a manifest, or a table of one's own."""

from collections.abc import Callable
from pathlib import Path

from vocaffect.corpora import Dropped, prepare
from vocaffect.errors import VocaffectError
from vocaffect.labels import LabelSet
from vocaffect.manifest import ColumnsError, Manifest
from vocaffect.shards import read_shards
from vocaffect.tar import is_there


def read_clips(
    corpus: str,
    data_root: Path,
    *,
    partial: bool = False,
    labels: LabelSet | None = None,
    dropped: Dropped | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> Manifest:
    """The clips of a manifest file, or of corpora under ``data_root``; the options are as in `prepare`.

    Raises:
        VocaffectError: if they cannot be read, clips of the manifest are gone, or no clip has one of the labels.
    """
    manifest = _from_file(corpus, labels, dropped)
    if manifest is None:
        manifest = prepare(
            corpus, data_root, partial=partial, labels=labels, dropped=dropped, progress=progress, cache=cache
        )
    if labels and (absent := [name for name in labels.names if name not in {clip.emotion for clip in manifest}]):
        raise VocaffectError(
            f"no clip of {corpus} has the label '{absent[0]}': leave it out, or give the corpus' own words for it"
        )
    return manifest


def _from_file(corpus: str, labels: LabelSet | None, dropped: Dropped | None) -> Manifest | None:
    """The clips of shards or of a manifest file, relabelled as is asked; ``None`` if there is no such file."""
    if corpus.endswith(".json"):
        manifest = read_shards(Path(corpus))
    elif corpus.endswith((".csv", ".parquet")) and Path(corpus).is_file():
        try:
            manifest = _all_there(Manifest.read(corpus, labels=labels))
        except ColumnsError:
            return None
    else:
        return None
    if labels is None:
        return manifest
    manifest, left_out = manifest.relabelled(labels)
    for name, words in left_out.items():
        if dropped is not None:
            dropped(name, words)
    return manifest


def _all_there(manifest: Manifest) -> Manifest:
    """The manifest, none of whose clips may be gone."""
    gone = [path for path in map(manifest.audio_path, manifest) if not is_there(path)]
    if gone:
        raise VocaffectError(
            f"{len(gone):,} of the {len(manifest):,} clips of the manifest are gone (first: {gone[0]}): put them back, "
            "or prepare the manifest again"
        )
    return manifest
