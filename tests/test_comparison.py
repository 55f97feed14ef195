"""Comparing runs: the paired interval against two oracles, the page against its numbers, and what is refused."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import balanced_accuracy_score, recall_score
from typer.testing import CliRunner

from vocaffect.cli import build_app, main
from vocaffect.comparison import compare
from vocaffect.comparison_page import write_page
from vocaffect.errors import VocaffectError
from vocaffect.evaluation import Predictions, evaluate
from vocaffect.metrics import Ints, confusions_by, paired_bootstrap, uar, war

LABELS = ("neutral", "happy", "sad")
MakeRun = Callable[..., Path]


def answers(targets: Ints, skill: Any, seed: int) -> Ints:
    """What a recogniser says that knows the answer with a probability of ``skill``, and else guesses."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(targets)) < skill, targets, rng.integers(0, len(LABELS), len(targets)))


def balanced(num_speakers: int, seed: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Targets, speakers and the answers of two recognisers; speakers have 8 clips of each label, some are easier."""
    targets = np.tile(np.arange(8 * len(LABELS)) % len(LABELS), num_speakers)
    speakers = np.repeat(np.arange(num_speakers), 8 * len(LABELS))
    ease = np.random.default_rng(seed).uniform(0, 0.8, num_speakers)[speakers]
    return targets, speakers, answers(targets, ease, seed + 1), answers(targets, ease, seed + 2)


def test_paired_interval_is_the_one_of_every_possible_draw() -> None:
    """Four speakers can be drawn in 4^4 ways: measure each with scikit-learn, unequal clips and two folds included."""
    rng = np.random.default_rng(5)
    speakers = rng.choice(4, 160, p=[0.1, 0.2, 0.3, 0.4])
    targets, folds = rng.integers(0, len(LABELS), 160), speakers // 2
    said = answers(targets, 0.3 + 0.2 * speakers, 1), answers(targets, 0.5, 2)

    def measure(drawn: tuple[int, ...], predicted: Ints) -> float:
        values, weights = [], []
        for fold in (0, 1):
            clips = [i for speaker in drawn for i in np.flatnonzero(speakers == speaker) if folds[i] == fold]
            if clips:
                truth, found = targets[clips], predicted[clips]
                values.append(recall_score(truth, found, labels=np.unique(truth), average="macro", zero_division=0))
                weights.append(sum(speaker // 2 == fold for speaker in drawn) / 2)
        return float(np.average(values, weights=weights))

    every = [measure(d, said[0]) - measure(d, said[1]) for d in itertools.product(range(4), repeat=4)]
    cells = [confusions_by(targets, one, speakers, folds, len(LABELS)) for one in said]
    found = paired_bootstrap(uar, *cells, num_resamples=40_000)
    assert found.value == pytest.approx(measure((0, 1, 2, 3), said[0]) - measure((0, 1, 2, 3), said[1]))
    assert found.low == pytest.approx(np.quantile(every, 0.025), abs=0.005)
    assert found.high == pytest.approx(np.quantile(every, 0.975), abs=0.005)
    assert found.wins == pytest.approx(np.mean(np.array(every) > 0), abs=0.01)


def test_paired_interval_is_the_one_that_scipy_finds() -> None:
    targets, speakers, a, b = balanced(12, seed=3)
    cells = [confusions_by(targets, said, speakers, np.zeros_like(speakers), len(LABELS)) for said in (a, b)]
    found = paired_bootstrap(uar, *cells, num_resamples=20_000)
    sides = [(speakers == s, said) for s in range(12) for said in (a, b)]
    own = np.reshape([balanced_accuracy_score(targets[who], said[who]) for who, said in sides], (12, 2))
    expected = scipy_bootstrap((own[:, 0] - own[:, 1],), np.mean, n_resamples=20_000, method="percentile", rng=9)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.005)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.005)


def test_paired_difference_turns_with_its_sides_and_is_none_with_oneself() -> None:
    targets, speakers, a, b = balanced(9, seed=4)
    first, second = (confusions_by(targets, said, speakers, speakers // 3, len(LABELS)) for said in (a, b))
    there, back = paired_bootstrap(war, first, second), paired_bootstrap(war, second, first)
    np.testing.assert_allclose(back, [-there.value, -there.high, -there.low, 1 - there.wins])
    assert paired_bootstrap(war, first, first) == (0.0, 0.0, 0.0, 0.5)
    assert np.isnan(paired_bootstrap(war, first[:, :1], second[:, :1])[1:]).all()
    with pytest.raises(ValueError, match="same clips"):
        paired_bootstrap(war, first, second[:, ::-1][:, [0, *range(8)]])


def test_paired_interval_holds_zero_when_neither_is_better_about_as_often_as_it_says() -> None:
    """Both know equally much of each speaker; unpaired intervals would be wider than this by the speakers' spread."""
    held, widths = 0, []
    for seed in range(200):
        targets, speakers, a, b = balanced(20, seed)
        cells = [confusions_by(targets, said, speakers, np.zeros_like(speakers), len(LABELS)) for said in (a, b)]
        found = paired_bootstrap(uar, *cells, num_resamples=300)
        held += found.low <= 0 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= held / 200 <= 0.99
    assert np.mean(widths) < 0.14


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes the folder of a trained and tested run with answers from a formula."""

    def make(name: str, skill: float = 0.5, num_folds: int = 3, num_speakers: int = 12, **changes: Any) -> Path:
        folder = tmp_path / name
        targets, speakers, _, _ = balanced(num_speakers, seed=0)
        folds = tuple(int(fold) for fold in speakers % num_folds + 1)
        logits = 4.0 * np.eye(len(LABELS))[answers(targets, skill, len(name))]
        columns = {
            "labels": LABELS,
            "utterances": tuple(
                f"{label}/{speaker}/{i}.wav" for i, (label, speaker) in enumerate(zip(targets, speakers, strict=True))
            ),
            "targets": targets,
            "speakers": tuple(f"speaker-{speaker}" for speaker in speakers),
            "folds": folds,
            "protocol": "speaker-kfold",
        } | changes
        predictions = Predictions(**columns, logits=logits)
        (folder / "test").mkdir(parents=True)
        (folder / "test" / "metrics.json").write_text(json.dumps(evaluate(predictions, num_resamples=50)))
        with (folder / "test" / "predictions.jsonl").open("w") as file:
            for i, path in enumerate(predictions.utterances):
                row = {"path": path, "speaker": predictions.speakers[i], "fold": folds[i]}
                row |= {"emotion": LABELS[predictions.targets[i]], "recognised": LABELS[int(logits[i].argmax())]}
                file.write(json.dumps(row) + "\n")
        for fold in range(1, num_folds + 1):
            place = folder / f"fold_{fold}" if num_folds > 1 else folder
            place.mkdir(exist_ok=True)
            rows = [
                {
                    "epoch": epoch,
                    "validation_uar": skill * epoch / 9,
                    "validation_loss": 1 / epoch,
                    "train_loss": 1 / epoch,
                }
                for epoch in range(1, 3 + 2 * fold)
            ]
            (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            (place / "recipe.yaml").write_text(
                f"data: {{fold: {fold}}}\nmodel: {{name: lstm, hidden_size: {len(name)}}}\n"
            )
        return folder

    return make


class Reader(HTMLParser):
    """Collects tags, identifiers, text and every address that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.ids, self.fetched, self.cells = list[str](), list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.fetched += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.cells.append(data.strip())


@pytest.mark.parametrize("num_folds", [1, 3])
def test_page_tells_the_numbers_of_the_runs_and_asks_nobody_for_anything(
    make_run: MakeRun, tmp_path: Path, num_folds: int
) -> None:
    folders = [make_run("weak", 0.3, num_folds), make_run("strong", 0.7, num_folds)]
    comparison = compare(folders)
    page = write_page(comparison, tmp_path / "page.html").read_text()
    reader = Reader()
    reader.feed(page)
    found = [json.loads((folder / "test" / "metrics.json").read_text()) for folder in folders]
    for evaluation in found:
        assert any(cell.startswith(f"{evaluation['uar']['value']:.1%} (") for cell in reader.cells)
        assert f"{evaluation['war']['value']:.1%}" in reader.cells
        for row in evaluation["per_class"].values():
            assert f"{row['recall']:.0%}" in reader.cells
    (pair,) = comparison.pairs
    assert pair.difference.value == pytest.approx(found[0]["uar"]["value"] - found[1]["uar"]["value"])
    assert f"{100 * pair.difference.value:+.1f}" in reader.cells
    assert pair.difference.high < 0
    assert reader.tags.count("svg") == 2
    assert reader.tags.count("table") == 6
    assert all(address.startswith("#") and address[1:] in reader.ids for address in reader.fetched)
    assert len(set(reader.ids)) == len(reader.ids)
    assert not re.search(r"url\((?!#)|@import|<script|<link", page)
    assert not re.search(r"#0[0-9a]0[0-9a]0[0-9a]", page), "a stand-in for a colour was left"
    assert "model.hidden_size" in reader.cells
    assert "data.fold" not in reader.cells


def test_a_leaky_run_is_called_leaky(make_run: MakeRun, tmp_path: Path) -> None:
    page = write_page(compare([make_run("fair"), make_run("unfair", speaker_disjoint=False)]), tmp_path / "page.html")
    assert re.search(r"class=warning>Leaky[^<]*: unfair\.<", page.read_text())


def test_command_prints_a_table_and_writes_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [str(make_run(name, skill)) for name, skill in (("one", 0.2), ("other", 0.5), ("third", 0.9))]
    done = CliRunner().invoke(build_app(), ["compare", *runs, runs[0], "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    for pair in ("one - other", "one - third", "other - third"):
        assert done.output.count(pair) == 1
    assert (tmp_path / "page.html").is_file()


def test_what_was_not_trained_here_has_no_curves(make_run: MakeRun, tmp_path: Path) -> None:
    ensemble = make_run("ensemble")
    for fold in ensemble.glob("fold_*"):
        shutil.rmtree(fold)
    comparison = compare([ensemble, make_run("member")])
    assert comparison.runs[0].histories == ()
    shutil.rmtree(tmp_path / "member" / "fold_1")
    assert "Training" in write_page(comparison, tmp_path / "page.html").read_text()


def break_line(folder: Path) -> None:
    path = folder / "test" / "predictions.jsonl"
    path.write_text(path.read_text()[:-20])


def relabel(folder: Path) -> None:
    path = folder / "test" / "predictions.jsonl"
    path.write_text(path.read_text().replace('"emotion": "happy"', '"emotion": "sad"', 1))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: shutil.rmtree(folder / "test"), r"holds no tested run: run 'vocaffect test .*b' first"),
        (break_line, r"b holds damaged results .*: run 'vocaffect test .*b' again"),
        (relabel, r"a and .*b disagree about what happy|disagree about what 1/0/1.wav is: happy by speaker-0 or sad"),
    ],
)
def test_runs_that_cannot_be_compared(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], sentence: str
) -> None:
    folders = [make_run("a"), make_run("b")]
    spoil(folders[1])
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, folders)])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.fullmatch(f"error: .*({sentence}).*\n", error), error


def test_different_test_sides_are_refused(make_run: MakeRun) -> None:
    all_folds = make_run("all")
    with pytest.raises(VocaffectError, match=r"different clips \(288 and 288, of which 96 in the same fold\)"):
        compare([all_folds, make_run("one", num_folds=1)])
    with pytest.raises(VocaffectError, match=r"different clips \(288 and 144, of which 144 in the same fold\)"):
        compare([all_folds, make_run("fewer", num_speakers=6)])
    with pytest.raises(VocaffectError, match="recognise other emotions"):
        compare([all_folds, make_run("named", labels=("neutral", "calm", "sad"))])
    with pytest.raises(VocaffectError, match="needs two runs or more"):
        compare([all_folds, all_folds])
