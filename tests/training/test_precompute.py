"""Features that are computed once: the same numbers, the same weights, from one process or two, cold or warm."""

import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file as read_tensors
from typer.testing import CliRunner, Result

from vocaffect.audio import read_clip
from vocaffect.cli import build_app, main
from vocaffect.corpora import find_clips
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.features import FrontEnd, register_feature
from vocaffect.pcm import Pcm
from vocaffect.plugins import load_file
from vocaffect.precompute import Extraction, fill
from vocaffect.recipe import Recipe
from vocaffect.training import checkpoint

FIXED = ("augment.enabled=false", "training.max_epochs=2", "frontend.deltas=1")


def extraction(**given: object) -> Extraction:
    return Extraction({"features": {"mfcc": {}}, **given}, trim_db=-60.0)


def told(extraction: Extraction, folder: Path, clips: list[Path], workers: int = 1) -> Counter[str]:
    return Counter(outcome for outcome, _ in fill(extraction, folder, clips, workers))


def test_samples_of_16_bits_give_what_floats_give() -> None:
    frontend = FrontEnd({"mfcc": {}, "rms": {}})
    kept = torch.randint(-9_000, 9_000, (2, 8_050), generator=torch.Generator().manual_seed(0)).short()
    assert torch.equal(frontend.raw(kept), frontend.raw(kept / 32_768))


def test_raw_features_stand_for_samples() -> None:
    frontend = FrontEnd({"mfcc": {}, "rms": {}}, deltas=2)
    samples = 0.1 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    samples[0, 2_000:4_000] = 0
    frontend.fit(list(samples))
    mean = frontend.mean.clone()
    frontend.fit([frontend.raw(clip[None])[0] for clip in samples])
    assert torch.equal(frontend.mean, mean)
    for one, other in zip(frontend(samples)[0], frontend(frontend.raw(samples))[0], strict=True):
        assert torch.equal(one, other)


def test_what_is_named_the_same_is_the_same(tmp_path: Path) -> None:
    plain = extraction().settings()
    assert extraction(features={"mfcc": {"num_coefficients": 13}}).settings() == plain
    assert extraction(deltas=2).settings() == plain
    others: tuple[dict[str, Any], ...] = (
        {"features": {"mfcc": {"num_coefficients": 12}}},
        {"features": {"mel": {}}},
        {"hop_s": 0.02},
    )
    for other in others:
        assert extraction(**other).settings() != plain
    assert Extraction(extraction().frontend, trim_db=None).settings() != plain


def test_the_code_of_a_feature_is_part_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "level.py"
    file.write_text("from vocaffect.features.rms import Rms\nclass Own(Rms): pass\n")
    register_feature("own_test")(load_file(file).Own)
    before = extraction(features={"own_test": {}}).settings()
    file.write_text(file.read_text() + "# otherwise\n")
    assert extraction(features={"own_test": {}}).settings() != before
    file.unlink()
    with pytest.raises(VocaffectError, match="'own_test' is in no file"):
        extraction(features={"own_test": {}}).settings()


def test_filled_by_two_processes_as_by_one(corpus: Path, tmp_path: Path) -> None:
    clips = list(find_clips(corpus))
    assert told(extraction(), tmp_path / "one", clips) == {"computed": 54}
    assert told(extraction(), tmp_path / "two", clips, workers=2) == {"computed": 54}
    assert told(extraction(), tmp_path / "two", clips, workers=2) == {"found": 54}
    files = {path.relative_to(tmp_path / "one"): path for path in (tmp_path / "one").rglob("*.feat")}
    assert len(files) == 54
    assert all((tmp_path / "two" / name).read_bytes() == path.read_bytes() for name, path in files.items())
    next(iter(files.values())).write_bytes(b"")
    assert told(extraction(), tmp_path / "one", clips) == {"found": 53, "mended": 1}


def test_clips_that_cannot_be_read_are_told_of(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    clips = [*list(find_clips(corpus))[:3], tmp_path / "broken.wav"]
    assert told(extraction(), tmp_path / "cache", clips, workers=2) == {"computed": 3, "unreadable": 1}


class Deadly(Extraction):
    """Takes the process that computes with it."""

    def heard(self, samples: Pcm) -> Pcm:
        os.kill(os.getpid(), signal.SIGKILL)
        return samples


class Faulty(Extraction):
    def heard(self, samples: Pcm) -> Pcm:
        raise VocaffectError("there is no room")


@pytest.mark.parametrize(("kind", "message"), [(Deadly, "a process was killed"), (Faulty, "there is no room")])
def test_what_happens_in_a_process_is_said(kind: type[Extraction], message: str, corpus: Path, tmp_path: Path) -> None:
    given = extraction()
    with pytest.raises(VocaffectError, match=message):
        list(fill(kind(given.frontend, given.trim_db), tmp_path, list(find_clips(corpus)), workers=2))
    assert not multiprocessing.active_children()


def test_weights_are_the_same_without_a_cache_with_an_empty_and_with_a_full_one(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path
) -> None:
    weights, cache = {}, f"training.cache_dir={tmp_path / 'cache'}"
    for name, changes in {"without": (), "empty": (cache,), "full": (cache,)}.items():
        run = start_run(small(*FIXED, *changes), tmp_path / name, corpus)
        train_run(run)
        weights[name] = read_tensors(tmp_path / name / checkpoint.BEST)
    for tensors in weights.values():
        assert all(torch.equal(tensors[key], value) for key, value in weights["without"].items())
    assert len(list((tmp_path / "cache").rglob("*.feat"))) == len(run.split.train) + len(run.split.validation)


def test_clips_that_change_are_not_taken_from_it(corpus: Path, small: Callable[..., Recipe], tmp_path: Path) -> None:
    notes: list[str] = []
    recipe = small("training.max_epochs=1", f"training.cache_dir={tmp_path / 'cache'}")
    run = start_run(recipe, tmp_path / "run", corpus)
    train_run(run, on_note=notes.append)
    assert len(list((tmp_path / "cache").rglob("*.feat"))) == len(run.split.validation)
    assert "serves validation alone" in notes[0]


def test_a_clip_that_is_not_what_its_manifest_says(corpus: Path, small: Callable[..., Recipe], tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "clips")
    run = start_run(small(*FIXED, f"training.cache_dir={tmp_path / 'cache'}"), tmp_path / "run", tmp_path / "clips")
    first, second, *_ = run.split.train
    shutil.copy(tmp_path / "clips" / first, tmp_path / "clips" / second)
    with pytest.raises(VocaffectError, match="has changed since its manifest was made"):
        train_run(run)


def vocaffect(*words: object) -> Result:
    return CliRunner().invoke(build_app(), [str(word) for word in words], env={"COLUMNS": "120"})


def test_the_command(corpus: Path, tmp_path: Path) -> None:
    cache = ["--cache-dir", tmp_path / "cache"]
    first = vocaffect("cache", "--data-root", corpus, "--feature", "mfcc", *cache, "--workers", 2)
    assert first.stdout.endswith("54 clips, 54 computed, 0 there already, 0 unreadable\n")
    assert "0 computed, 54 there already" in vocaffect("cache", "-d", corpus, "--feature", "mfcc", *cache).stdout
    both = vocaffect("cache", "-d", corpus, "--feature", "mfcc", "--feature", "rms", *cache)
    assert "54 computed" in both.stdout
    listed = vocaffect("cache", "info", *cache).stdout
    assert "num_coefficients=13" in listed
    assert listed.count("below -60 dB") == 2
    assert "108 entries removed" in vocaffect("cache", "clear", *cache).stdout


def test_the_command_computes_what_training_by_the_recipe_asks_for(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = small(*FIXED, f"training.cache_dir={tmp_path / 'cache'}")
    recipe.write(tmp_path / "recipe.yaml")
    words = ["--config", tmp_path / "recipe.yaml", "--data-root", corpus, "--cache-dir", tmp_path / "cache"]
    assert "54 computed" in vocaffect("cache", *words, "--workers", 1).stdout
    before = sorted((tmp_path / "cache").rglob("*"))
    train_run(start_run(recipe, tmp_path / "run", corpus))
    assert {path.parent.parent for path in (tmp_path / "cache").rglob("*.feat")} >= {before[0]}
    assert len(list(before[0].rglob("*.feat"))) == 54


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data-root", "none"], "there is no folder none"),
        (["--data-root", ".", "--feature", "mfc"], "did you mean 'mfcc'"),
        (["--data-root", ".", "--config", "none.yaml"], "there is no recipe none.yaml"),
        (["info", "--cache-dir", "none"], "there is no cache none"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cache", *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_clips_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cache", "--data-root", str(tmp_path), "--cache-dir", str(tmp_path / "cache")])
    assert stop.value.code == 2
    assert "no audio file lies under" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_an_unreadable_clip_ends_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    done = vocaffect("cache", "--data-root", tmp_path, "--cache-dir", tmp_path / "cache")
    assert done.exit_code == 2
    assert "1 unreadable" in done.stdout
    assert "broken.wav is not audio" in done.stderr


def test_a_source_is_decoded_once_and_gives_what_reading_gives(corpus: Path) -> None:
    from vocaffect.audio import measure, read_source

    path = next(find_clips(corpus))
    source = read_source(path)
    assert source.sha256 == measure(path).sha256
    np.testing.assert_array_equal(source.clip().samples, read_clip(path).samples)
