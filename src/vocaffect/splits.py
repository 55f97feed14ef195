"""Who trains, who validates, who is tested: made by protocol, stored as a file, and audited for leaks."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from vocaffect.audio import AudioError, EmptyAudioError, measure
from vocaffect.errors import unknown_name
from vocaffect.manifest import Manifest, Utterance
from vocaffect.protocols import (
    SIDES,
    Protocol,
    Split,
    SplitError,
    Unit,
    balanced_folds,
    clip_units,
    get_protocol,
    hold_out,
    protocols,
    shuffled,
    speaker_units,
)

__all__ = ["SIDES", "Audit", "Finding", "Split", "SplitError", "audit", "make_split", "num_folds", "protocols"]

SILENT_DB = -80.0
"""The quietest acted speech we know (RAVDESS, calm) has an RMS level of -64 dB of full scale."""
MAX_CLIPPED = 1e-4
"""A clip is called clipped where more than this fraction of its samples follows another at full scale."""


def num_folds(
    protocol: str, manifest: Manifest | None = None, folds: int | None = None, train_only: Iterable[str] = ()
) -> int:
    """How many folds a protocol has; ``folds`` is the number asked of one that leaves it open.

    Left open by the caller too, it is the protocol's own, or the number of speakers if there are fewer. Of
    ``speaker-loso`` and ``leave-one-corpus-out`` it is the number of speakers or corpora in the manifest, 0 without
    one. The corpora in ``train_only`` are in no fold.
    """
    chosen = get_protocol(protocol)
    if manifest is not None:
        manifest, _ = _apart(manifest, train_only)
    if chosen.kind in ("corpora", "loso"):
        parts = () if manifest is None else manifest.corpora if chosen.kind == "corpora" else _alone(manifest)
        return len(parts)
    if chosen.kind != "kfold":
        return chosen.num_folds
    speakers = chosen.num_folds if manifest is None else max(2, len(manifest.speakers))
    return folds or min(chosen.num_folds, speakers)


def make_split(
    manifest: Manifest,
    protocol: str,
    fold: int = 1,
    seed: int = 0,
    validation_fraction: float = 0.2,
    folds: int | None = None,
    train_only: Iterable[str] = (),
) -> Split:
    """Make one fold (counted from 1) of a protocol; the same arguments give the same split everywhere.

    The validation side is about ``validation_fraction`` of the training side's clips, from speakers who are
    held out of it, of each sex in turn. Clips of identical audio are kept on one side: a training clip that
    sounds like a test clip is dropped, and so is one of a tested speaker in another corpus. ``seed-random`` has
    its own fractions and knows no speakers.

    The corpora in ``train_only`` are tested and validated on in no fold: all their clips join the training side, but
    for those of voices or with audio on the other sides.

    Raises:
        SplitError: if the protocol is not known or the manifest cannot be split that way.
    """
    chosen = get_protocol(protocol)
    if not len(manifest):
        raise SplitError("the manifest is empty: prepare it again")
    manifest, others = _apart(manifest, train_only)
    folds = num_folds(protocol, manifest, folds)
    if not 1 <= fold <= folds:
        raise SplitError(f"{protocol} has the folds 1 to {folds}, not {fold}: choose one of these")
    if not 0.0 <= validation_fraction < 1.0:
        raise SplitError(f"a validation fraction of {validation_fraction:g} is not in [0, 1): choose one, as 0.2")
    if chosen.kind == "random":
        train, validation, test = _random_sides(manifest, chosen.fractions, seed)
    else:
        tested = _test_clips(manifest, chosen, fold, seed, folds)
        heard = {utterance.sha256 for utterance in tested}
        voices = {utterance.speaker for utterance in tested} - {""}
        rest = [clip for clip in manifest if clip.sha256 not in heard and clip.speaker not in voices]
        if not rest:
            raise SplitError(f"fold {fold} of {protocol} tests every voice, so nobody is left to train on: add corpora")
        train, validation = hold_out(speaker_units(rest), validation_fraction, seed, fold)
        test = clip_units(tested)
    split = Split(protocol, fold, _paths(train), _paths(validation), _paths(test), seed)
    return _with_training(split, manifest, others) if others else split


def _apart(manifest: Manifest, train_only: Iterable[str]) -> tuple[Manifest, tuple[Utterance, ...]]:
    """The clips that a protocol splits, and those that are only trained on."""
    names = set(train_only)
    if unknown := sorted(names - set(manifest.corpora)):
        raise SplitError(f"train only: {unknown_name('corpus', unknown[0], manifest.corpora)}")
    if names == set(manifest.corpora):
        raise SplitError(
            "every corpus is to be trained on only, so nobody is left to test: leave one out of train_only"
        )
    home = tuple(clip for clip in manifest if clip.corpus not in names)
    return replace(manifest, utterances=home), tuple(clip for clip in manifest if clip.corpus in names)


def _with_training(split: Split, manifest: Manifest, others: Iterable[Utterance]) -> Split:
    """The split with other clips on its training side, but for those heard, or of voices heard, on another side."""
    held = [clip for side in split.of(manifest)[1:] for clip in side]
    heard, voices = {clip.sha256 for clip in held}, {clip.speaker for clip in held} - {""}
    joining = (clip.path for clip in others if clip.sha256 not in heard and clip.speaker not in voices)
    return replace(split, train=(*split.train, *joining))


def _random_sides(manifest: Manifest, fractions: tuple[float, ...], seed: int) -> list[list[Unit]]:
    """The clips at random in these fractions, one list of units a side."""
    sides: list[list[Unit]] = [[] for _ in fractions]
    done = 0
    for unit in shuffled(clip_units(manifest), seed):
        passed = [done >= len(manifest) * sum(fractions[: side + 1]) - 0.5 for side in range(len(fractions) - 1)]
        sides[sum(passed)].append(unit)
        done += len(unit)
    return sides


def _test_clips(manifest: Manifest, protocol: Protocol, fold: int, seed: int, folds: int) -> list[Utterance]:
    if protocol.kind == "all":
        return []
    if protocol.kind == "speakers":
        if missing := sorted(set(chain(*protocol.folds)) - set(manifest.speakers)):
            raise SplitError(
                f"{protocol.name} needs {len(missing)} speakers that the manifest lacks "
                f"(first: {missing[0]}): prepare the whole corpus, or use speaker-kfold"
            )
        return [utterance for utterance in manifest if utterance.speaker in protocol.folds[fold - 1]]
    if protocol.kind == "corpora":
        if len(manifest.corpora) < 2:
            raise SplitError(
                f"{protocol.name} needs several corpora, and all clips are of {manifest.corpora[0]}: prepare more, "
                "as in 'vocaffect data prepare ravdess+tess'"
            )
        return [utterance for utterance in manifest if utterance.corpus == manifest.corpora[fold - 1]]
    if unknown := sum(not utterance.speaker for utterance in manifest):
        raise SplitError(
            f"{unknown} clips name no speaker, so no split can keep voices apart: name the speakers (label/"
            "speaker/clip.wav, or a CSV with a speaker column), or use seed-random, whose numbers flatter"
        )
    units = _alone(manifest) if protocol.kind == "loso" else balanced_folds(speaker_units(manifest), folds, seed)
    return [utterance for unit in units[fold - 1] for utterance in unit.utterances]


def _alone(manifest: Manifest) -> list[list[Unit]]:
    """Each speaker, with those who share audio with them, in the order of their names."""
    return [[unit] for unit in sorted(speaker_units(manifest), key=lambda unit: unit.name)]


def _paths(units: Iterable[Unit]) -> tuple[str, ...]:
    return tuple(utterance.path for unit in units for utterance in unit.utterances)


@dataclass(frozen=True)
class Finding:
    """Something the auditor found: what kind, a sentence, the clips, and whether it makes results untrue.

    ``unusable`` says that the clip cannot be used as the manifest describes it.
    """

    kind: str
    message: str
    paths: tuple[str, ...]
    leak: bool = False
    unusable: bool = False


@dataclass(frozen=True)
class Audit:
    """All that the auditor found."""

    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> bool:
        """Whether something is on two sides that must be on one."""
        return any(finding.leak for finding in self.findings)


def audit(
    manifest: Manifest,
    split: Split | None = None,
    *,
    listen: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look for speakers and audio on two sides of a split, repeated audio, and clips that cannot be used.

    With ``listen`` every clip is decoded, which finds the unreadable, empty, changed, silent and clipped
    ones; without it the manifest's word is taken.

    Raises:
        ManifestError: if the split names clips that the manifest lacks.
    """
    findings = [*_shared_voices(manifest, split), *_shared_audio(manifest, split)]
    if listen:
        findings += _bad_clips(manifest, progress)
    return Audit(tuple(findings))


def _sides(manifest: Manifest, split: Split | None) -> dict[str, str]:
    """The side of each path of the split; without a split there are no sides."""
    if split is None:
        return {}
    return {u.path: side for side, part in zip(SIDES, split.of(manifest), strict=True) for u in part}


def _shared_voices(manifest: Manifest, split: Split | None) -> Iterable[Finding]:
    sides = _sides(manifest, split)
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for utterance in manifest:
        if utterance.path in sides:
            by_speaker[utterance.speaker].append(utterance.path)
    for speaker, paths in sorted(by_speaker.items()):
        found = {sides[path] for path in paths}
        if len(found) < 2:
            continue
        if speaker:
            message = f"{speaker} is in {_in_order(found)}"
            yield Finding("shared speaker", message, tuple(paths), leak=True)
        else:
            message = f"{len(paths)} clips in {_in_order(found)} name no speaker, so one voice may be in both"
            yield Finding("unknown speaker", message, tuple(paths), leak=True)


def _shared_audio(manifest: Manifest, split: Split | None) -> Iterable[Finding]:
    sides = _sides(manifest, split)
    by_hash: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in manifest:
        by_hash[utterance.sha256].append(utterance)
    for same in by_hash.values():
        if len(same) < 2:
            continue
        paths = tuple(utterance.path for utterance in same)
        found = {sides[path] for path in paths if path in sides}
        what = " = ".join(paths)
        if len({(utterance.emotion, utterance.speaker) for utterance in same}) > 1:
            what += ", with different labels"
        if len(found) > 1:
            yield Finding("shared audio", f"{what}, in {_in_order(found)}", paths, leak=True)
        else:
            yield Finding("repeated audio", what, paths)


def _bad_clips(manifest: Manifest, progress: Callable[[int, int], None] | None) -> Iterable[Finding]:
    for number, utterance in enumerate(manifest, 1):
        yield from _bad_clip(manifest.audio_path(utterance), utterance)
        if progress is not None:
            progress(number, len(manifest))


def _bad_clip(path: Path, utterance: Utterance) -> Iterable[Finding]:
    try:
        heard = measure(path)
    except AudioError as error:
        kind = "empty" if isinstance(error, EmptyAudioError) else "unreadable"
        yield Finding(kind, str(error), (utterance.path,), unusable=True)
        return
    if heard.sha256 != utterance.sha256:
        message = f"{path} is not the audio that the manifest was made of"
        yield Finding("changed", message, (utterance.path,), unusable=True)
    if heard.rms < 10 ** (SILENT_DB / 20):
        yield Finding("silent", f"{path} has a level below {SILENT_DB:g} dB of full scale", (utterance.path,))
    if heard.clipped > MAX_CLIPPED:
        message = f"{path} has {heard.clipped:.2%} of its samples stuck at full scale"
        yield Finding("clipped", message, (utterance.path,))


def _in_order(sides: Iterable[str]) -> str:
    return " and ".join(sorted(sides, key=SIDES.index))
