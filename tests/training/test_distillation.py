"""Learning from teachers."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from scipy.special import rel_entr, softmax
from typer.testing import CliRunner

from vocaffect.audio import read_clip
from vocaffect.augment import AugmentOptions
from vocaffect.bundle import read_card, write_bundle
from vocaffect.cli import build_app
from vocaffect.corpora import prepare
from vocaffect.datasets import EmotionDataset
from vocaffect.distillation import lesson_of, tell
from vocaffect.ensemble import write_ensemble
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.losses import distillation
from vocaffect.manifest import Manifest, Utterance
from vocaffect.packing import bundle_of
from vocaffect.posteriors import Posteriors, hear
from vocaffect.recipe import Recipe
from vocaffect.recognizer import Recognizer
from vocaffect.runs import Run, open_run, split_of
from vocaffect.sampling import Place
from vocaffect.splits import Split
from vocaffect.teachers import cautions, teachers_of, voices_of
from vocaffect.training import checkpoint
from vocaffect.training.progress import Progress

Small = Callable[..., Recipe]
LABELS = ("neutral", "happy", "sad")
RECIPE = ("training.max_epochs=8", "augment.enabled=false", "training.checkpoint_every=100")


def test_distillation_is_the_divergence_written_out() -> None:
    """Against scipy, clip by clip; a clip that no teacher has heard adds nothing."""
    rng = np.random.default_rng(0)
    logits, soft = rng.normal(0, 2, (3, 4, 5)), softmax(rng.normal(0, 2, (3, 5)), axis=1)
    soft[1] = 0
    num_frames, temperature = [4, 3, 2], 2.5
    active = np.ones((3, 4, 1))
    active[0, 1] = 0

    def divergence(clip: int, frame: int) -> float:
        teacher = softmax(np.log(soft[clip]) / temperature)
        return float(temperature**2 * rel_entr(teacher, softmax(logits[clip, frame] / temperature)).sum())

    last = (divergence(0, 3) + divergence(2, 1)) / 3
    every = sum(divergence(0, t) for t in (0, 2, 3)) + divergence(2, 0) + divergence(2, 1)
    x, on, lengths, teacher = (torch.from_numpy(array) for array in (logits, active, np.array(num_frames), soft))
    assert float(distillation(x, on, lengths, teacher, temperature)) == pytest.approx(last, rel=1e-9)
    both = float(distillation(x, on, lengths, teacher, temperature, frame_weight=0.25))
    assert both == pytest.approx(0.75 * last + 0.25 * every / (3 + 3 + 2), rel=1e-9)


def test_a_student_that_agrees_has_nothing_to_learn() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    soft = logits[:, -1].softmax(dim=1)
    lengths, active = torch.tensor([3, 3]), torch.ones(2, 3, 1)
    for temperature in (0.5, 1.0, 4.0):
        assert float(distillation(logits, active, lengths, soft, temperature)) == pytest.approx(0, abs=1e-12)


def table_of(manifest: Manifest, path: Path, sure: float = 0.9, voices: frozenset[str] | None = frozenset()) -> Path:
    """Posteriors that know each clip's emotion, and are so sure of it."""
    targets = [LABELS.index(clip.emotion) for clip in manifest]
    values = np.full((len(manifest), 3), (1 - sure) / 2) + (1.5 * sure - 0.5) * np.eye(3)[targets]
    hashes = tuple(clip.sha256 for clip in manifest)
    Posteriors(LABELS, ("",) * len(manifest), hashes, values.astype(np.float32), voices=voices).write(path)
    return path


def misled(manifest: Manifest, split: Split) -> Manifest:
    """The clips with wrong labels on the training side, and right ones elsewhere."""
    wrong = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
    train = set(split.train)
    return Manifest(
        manifest.root,
        tuple(replace(clip, emotion=wrong[clip.emotion]) if clip.path in train else clip for clip in manifest),
    )


def best_uar(run: Run) -> float:
    return train_run(run).best_score


def test_a_student_learns_from_soft_targets_alone(small: Small, corpus: Path, tmp_path: Path) -> None:
    """Every training label is wrong; who heeds them alone cannot be right about the validation speakers."""
    truth = prepare("folder", corpus)
    clips = misled(truth, split_of(small(), truth))
    teachers = f"distillation.teachers=['{table_of(truth, tmp_path / 'truth.npz')}']"
    taught = small(*RECIPE, teachers, "distillation.weight=1.0")
    fooled = small(*RECIPE, teachers, "distillation.weight=0.0")
    scores = [best_uar(start_run(r, tmp_path / n, corpus, manifest=clips)) for n, r in (("a", taught), ("b", fooled))]
    assert scores[0] > 0.8
    assert scores[1] < 0.5


@pytest.fixture(scope="module")
def two(small: Small, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of two folds."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    for fold in (1, 2):
        recipe = small("training.max_epochs=1", "data.num_folds=2", f"data.fold={fold}", "name=two")
        train_run(start_run(recipe, folder / f"fold_{fold}", corpus))
    return folder


def test_a_run_of_all_folds_teaches_fold_by_fold(two: Path, small: Small, corpus: Path, tmp_path: Path) -> None:
    recipe = small("training.max_epochs=1", "data.num_folds=2", "data.fold=2", f"distillation.teachers=['{two}']")
    run, notes = start_run(recipe, tmp_path / "student", corpus), list[str]()
    train_run(run, on_note=notes.append)
    kept = Posteriors.read(run.folder / "teachers.npz")
    clips = run.split.of(run.manifest)[0]
    bundle = two / "fold_2" / "model.onnx"
    teacher = Recognizer.load(bundle)
    expected = [teacher.posterior(read_clip(run.manifest.audio_path(clip)).samples).posterior for clip in clips]
    np.testing.assert_array_equal(kept.of(clips, run.labels), expected)
    assert kept.teachers == (read_card(bundle).digest,)
    assert "the validation score flatters, the test does not" in notes[0]
    with pytest.raises(VocaffectError, match=r"two has no fold 3 to teach fold 3"):
        start_run(small("data.fold=3", f"distillation.teachers=['{two}']"), tmp_path / "third", corpus)


def test_a_student_goes_on_without_its_teacher(small: Small, corpus: Path, tmp_path: Path) -> None:
    """What the teacher said is in the run's folder; going on ends with the weights of an unbroken run."""
    table = table_of(prepare("folder", corpus), tmp_path / "t.csv", sure=0.6)
    recipe = small("training.max_epochs=2", f"distillation.teachers=['{table}']")
    straight, broken = (start_run(recipe, tmp_path / name, corpus) for name in ("straight", "broken"))
    train_run(straight)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(broken, on_epoch=stop)
    table.unlink()
    train_run(open_run(broken.folder), resume=True)
    one, other = (checkpoint.load(run.folder / checkpoint.BEST)[0] for run in (straight, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_teacher_who_has_heard_the_test_speakers_is_refused(
    two: Path, small: Small, corpus: Path, tmp_path: Path
) -> None:
    """Whether it is a run, its bundle (whose card tells), an ensemble of that, or a table."""
    manifest = prepare("folder", corpus)
    bundle = bundle_of(open_run(two / "fold_2"))
    write_ensemble([bundle, bundle], tmp_path / "twice.onnx")
    voices = frozenset(manifest.speakers)
    table = table_of(manifest, tmp_path / "t.npz", voices=voices)
    for teacher in (two / "fold_2", bundle, tmp_path / "twice.onnx", table):
        recipe = small("data.num_folds=2", "data.fold=1", f"distillation.teachers=['{teacher}']")
        with pytest.raises(VocaffectError, match=r"has heard speakers of this run's test side \(folder-.*--allow-leak"):
            start_run(recipe, tmp_path / "student", corpus)
        assert not (tmp_path / "student").exists()
    start_run(recipe, tmp_path / "student", corpus, allow_leak=True)
    fair = small("data.num_folds=2", "data.fold=2", f"distillation.teachers=['{bundle}']")
    assert start_run(fair, tmp_path / "fair", corpus)


def test_of_some_bundles_nobody_can_tell_whom_they_heard(
    toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path
) -> None:
    run = start_run(small(f"distillation.teachers=['{toy_bundle}']"), tmp_path / "run", corpus)
    [sentence] = cautions(teachers_of(run), run)
    assert "nobody can tell which voices" in sentence


def test_a_card_names_the_voices_where_a_protocol_does() -> None:
    clips = [
        Utterance(f"{n}.wav", str(n), 1.0, f"ravdess-{n:02d}", "", "happy", "", "", "ravdess") for n in range(1, 25)
    ] + [Utterance("t.wav", "t", 1.0, "tess-OAF", "", "happy", "", "", "tess")]
    manifest = Manifest(Path(), tuple(clips))
    recipe = {"data": {"corpus": "ravdess", "protocol": "ravdess-emobox6", "fold": 1}}
    voices = voices_of(recipe, "another", manifest)
    assert voices == frozenset(f"ravdess-{n:02d}" for n in range(1, 25) if n not in (1, 11, 20, 21))
    everything = {"data": {"corpus": "ravdess+tess", "protocol": "all"}}
    assert voices_of(everything, "another", manifest) == frozenset(manifest.speakers)
    assert voices_of({"data": {"corpus": "ravdess", "protocol": "speaker-kfold"}}, "another", manifest) is None
    assert voices_of({"model": "toy"}, "another", manifest) is None


def test_teachers_that_cannot_teach(toys: Callable[..., Any], small: Small, corpus: Path, tmp_path: Path) -> None:
    toy = toys()
    card = toy.card.model_copy(update={"labels": ["neutral", "happy", "angry"]})
    write_bundle(tmp_path / "other.onnx", toy.model, card)
    table = table_of(prepare("folder", corpus), tmp_path / "t.npz")
    Posteriors(LABELS, ("elsewhere.wav",), ("",), np.array([[1, 0, 0]], np.float32)).write(tmp_path / "far.npz")
    for teacher, message, changes in (
        (tmp_path / "other.onnx", "other.onnx does not know sad", []),
        (tmp_path / "none.npz", "there are no posteriors", []),
        (tmp_path / "none.onnx", "there is no bundle", []),
        (tmp_path, "holds no run", []),
        (table, "cannot hear augmented ones", ["distillation.hears=augmented"]),
    ):
        with pytest.raises(VocaffectError, match=message):
            start_run(small(f"distillation.teachers=['{teacher}']", *changes), tmp_path / "run", corpus)
    assert not (tmp_path / "run").exists()
    run = start_run(small(f"distillation.teachers=['{tmp_path / 'far.npz'}']"), tmp_path / "run", corpus)
    with pytest.raises(VocaffectError, match="says nothing about any training clip"):
        train_run(run)


def test_several_teachers_are_averaged(toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path) -> None:
    table = table_of(prepare("folder", corpus), tmp_path / "t.npz")
    run = start_run(small(f"distillation.teachers=['{toy_bundle}', '{table}']"), tmp_path / "run", corpus)
    lesson = lesson_of(run, tmp_path / "cache")
    assert lesson.soft is not None
    said = hear(Recognizer.load(toy_bundle), lesson.clips).of(lesson.clips, run.labels)
    np.testing.assert_allclose(lesson.soft, (said + Posteriors.read(table).of(lesson.clips, run.labels)) / 2, atol=1e-6)


def test_clips_without_labels_are_labelled_by_the_teacher_alone(
    toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path
) -> None:
    """Of the other clips those of a test speaker stay out, and those that are in the corpus already."""
    known = prepare("folder", corpus)
    split = split_of(small(), known)
    tested = split.of(known)[2].speakers[0].removeprefix("folder-")
    for number, speaker in enumerate(("G", "H", tested)):
        (tmp_path / "more" / "sad" / speaker).mkdir(parents=True)
        tone = np.sin(np.arange(9_000 + 100 * number) / 20) / 3
        soundfile.write(tmp_path / "more" / "sad" / speaker / "0.wav", tone, 16_000)
    shutil.copytree(corpus / "happy", tmp_path / "more" / "happy")
    prepare("folder", tmp_path / "more").write(tmp_path / "more.csv")
    teaching = [f"distillation.teachers=['{toy_bundle}']", f"distillation.unlabelled={tmp_path / 'more.csv'}"]
    run = start_run(small("training.max_epochs=1", *teaching), tmp_path / "run", corpus)
    lesson = lesson_of(run, tmp_path / "cache")
    assert lesson.soft is not None
    without = [i for i, clip in enumerate(lesson.clips) if clip.emotion not in LABELS]
    assert sorted(lesson.clips.utterances[i].speaker for i in without) == ["folder-G", "folder-H"]
    assert len(lesson.clips) == len(split.train) + 2
    assert all(lesson.clips.audio_path(clip).is_file() for clip in lesson.clips)
    np.testing.assert_allclose(lesson.soft.sum(axis=1), 1, atol=1e-6)
    assert set(EmotionDataset(lesson.clips, run.labels, soft=lesson.soft).targets) == {-1, 0, 1, 2}
    assert np.isfinite(train_run(run).rows[0]["train_loss"])


def test_clips_of_which_nobody_says_anything_are_left_out(
    toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "more" / "sad" / "G").mkdir(parents=True)
    for number in range(3):
        tone = np.sin(np.arange(9_000 + 100 * number) / 20) / 3
        soundfile.write(tmp_path / "more" / "sad" / "G" / f"{number}.wav", tone, 16_000)
    prepare("folder", tmp_path / "more").write(tmp_path / "more.csv")
    known = [*prepare("folder", corpus), *prepare("folder", tmp_path / "more").utterances[:1]]
    everything = hear(Recognizer.load(toy_bundle), prepare("folder", corpus))
    values = np.concatenate([everything.values, everything.values[:1]])
    paths, hashes = ("",) * len(known), tuple(clip.sha256 for clip in known)
    Posteriors(LABELS, paths, hashes, values, voices=frozenset()).write(tmp_path / "table.npz")
    teaching = [
        f"distillation.teachers=['{tmp_path / 'table.npz'}']",
        f"distillation.unlabelled={tmp_path / 'more.csv'}",
    ]
    lesson = lesson_of(start_run(small(*teaching), tmp_path / "run", corpus), tmp_path / "cache")
    assert [clip.sha256 for clip in lesson.clips if clip.emotion not in LABELS] == [known[-1].sha256]


def test_teachers_may_hear_what_the_student_hears(toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path) -> None:
    teaching = [f"distillation.teachers=['{toy_bundle}']", "distillation.hears=augmented", "augment.probability=1.0"]
    run = start_run(small("training.max_epochs=1", "training.workers=1", *teaching), tmp_path / "run", corpus)
    lesson = lesson_of(run, tmp_path / "cache")
    options = AugmentOptions(probability=1.0)
    dataset = EmotionDataset(lesson.clips, run.labels, options, soft=lesson.soft, teacher=lesson.live, crop_s=0.3)
    item = dataset[Place(1, 0)]
    np.testing.assert_array_equal(item.soft, Recognizer.load(toy_bundle).posterior(item.samples).posterior)
    assert not np.array_equal(dataset[Place(2, 0)].soft, item.soft)
    assert np.isfinite(train_run(run).rows[0]["train_loss"])


def test_posteriors_of_a_run_of_all_folds_are_out_of_fold(two: Path, corpus: Path, tmp_path: Path) -> None:
    manifest = prepare("folder", corpus)
    done = list[tuple[int, int]]()
    table, num_known = tell([str(two)], manifest, on_clip=lambda *counts: done.append(counts))
    assert (num_known, done[-1], table.voices) == (0, (54, 54), frozenset(manifest.speakers))
    for folder in (two / "fold_1", two / "fold_2"):
        run = open_run(folder)
        tested = run.split.of(run.manifest)[2]
        expected = hear(Recognizer.load(bundle_of(run)), tested).of(tested, LABELS)
        np.testing.assert_array_equal(table.of(tested, LABELS), expected)
    one, other = two / "fold_1", two / "fold_2"
    alone, num_known = tell([str(one)], manifest)
    assert num_known == len(manifest) - len(open_run(one).split.test)
    both, _ = tell([str(one), str(other)], manifest)
    np.testing.assert_allclose(both.values, (alone.values + tell([str(other)], manifest)[0].values) / 2, atol=1e-6)


def test_the_commands(two: Path, toy_bundle: Path, small: Small, corpus: Path, tmp_path: Path) -> None:
    small("training.max_epochs=1", "data.num_folds=2").write(tmp_path / "r.yaml")
    prepare("folder", corpus).write(tmp_path / "clips.csv")

    def vocaffect(*arguments: object) -> str:
        result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    said = vocaffect("posteriors", two, "--data", tmp_path / "clips.csv", "-o", tmp_path / "two.parquet")
    assert "54 clips, 3 labels" in said
    said = vocaffect(
        *("train", "--config", tmp_path / "r.yaml", "--run-name", "s", "--runs-dir", tmp_path, "--data-root", corpus),
        *("--teacher", f"{tmp_path / 'two.parquet'},{toy_bundle}", "--distill-weight", "0.7", "--temperature", "3"),
        "--allow-leak",
    )
    assert "nobody can tell" in said
    options = open_run(tmp_path / "s").recipe.distillation
    assert options.teachers == (str(tmp_path / "two.parquet"), str(toy_bundle))
    assert (options.weight, options.temperature) == (0.7, 3.0)
