"""What `vocaffect data` prints of manifests and audits."""

from collections import Counter
from typing import TYPE_CHECKING

import typer

from vocaffect.cli.screen import new_table, show

if TYPE_CHECKING:
    from vocaffect.manifest import Manifest
    from vocaffect.splits import Finding


def print_manifest(manifest: "Manifest", by: str) -> None:
    """Clips and minutes of each emotion or corpus, and who speaks them."""
    table = new_table(
        by,
        "clips",
        "minutes",
        "speakers",
        "female",
        "male",
        numbers="clips minutes speakers female male",
    )
    clips = list(manifest)
    for name in [*Counter(getattr(clip, by) for clip in clips), "all"]:
        chosen = [clip for clip in clips if name in (getattr(clip, by), "all")]
        sexes = Counter(clip.sex for clip in chosen)
        minutes = sum(clip.duration_s for clip in chosen) / 60
        speakers = len({clip.speaker for clip in chosen} - {""})
        table.add_row(
            name,
            f"{len(chosen):,}",
            f"{minutes:.1f}",
            str(speakers),
            str(sexes["female"]),
            str(sexes["male"]),
        )
    show(table)


def print_statistics(manifest: "Manifest") -> None:
    """A row a corpus: clips, speakers, hours, the middle clip's seconds, and the clips of each label."""
    from statistics import median

    labels = [label for label in manifest.labels if any(clip.emotion == label for clip in manifest)]
    head = ("clips", "speakers", "hours", "median s")
    table = new_table("corpus", *head, *labels)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in [*manifest.corpora, "all"][: len(manifest.corpora) + (len(manifest.corpora) > 1)]:
        clips = [clip for clip in manifest if name in (clip.corpus, "all")]
        seconds, counts = [clip.duration_s for clip in clips], Counter(clip.emotion for clip in clips)
        speakers = len({clip.speaker for clip in clips} - {""})
        numbers = (f"{len(clips):,}", str(speakers), f"{sum(seconds) / 3600:.2f}", f"{median(seconds):.1f}")
        table.add_row(name, *numbers, *(f"{counts[label]:,}" for label in labels))
    show(table)


def print_findings(findings: "list[Finding]", most: int | None) -> None:
    """Every kind of finding with its first few sentences."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    for kind, found in kinds.items():
        typer.echo(f"{kind}{' (leak)' if found[0].leak else ''}: {len(found):,}")
        for finding in found[:most]:
            typer.echo(f"  {finding.message}")
        if most is not None and len(found) > most:
            typer.echo(f"  ... and {len(found) - most:,} more; --all shows them")


def print_pairs(pairs: dict[str, str]) -> None:
    """A line a pair, its name set flush right."""
    width = max(map(len, pairs))
    for name, value in pairs.items():
        typer.echo(f"{name:>{width}}  {value}")
