"""The report: its numbers are those of the evaluation, its HTML is one file, and a leak is shouted."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocaffect.decision import Settled
from vocaffect.evaluation import Predictions, evaluate
from vocaffect.pages import Block, Sentence, Table, as_html, as_markdown
from vocaffect.report import document, write_report


def evaluation(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    targets = np.arange(96) % 8
    logits = rng.normal(size=(96, 8)) + 2 * np.eye(8)[targets]
    fields: dict[str, Any] = {
        "labels": ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        "utterances": tuple(f"{i}.wav" for i in range(96)),
        "targets": targets,
        "logits": logits,
        "speakers": tuple(f"speaker-{i // 8}" for i in range(96)),
        "sexes": tuple(("male", "female")[i // 8 % 2] for i in range(96)),
        "folds": tuple(i // 8 % 3 + 1 for i in range(96)),
        "logits_at": {0.5: rng.normal(size=(96, 8)), 2.0: logits},
        "tracks": tuple(np.array([-1, 0, 1]) for _ in range(96)),
        "settled": (Settled("happy", 0.85, 0.2),) * 95 + (None,),
        "protocol": "ravdess-emobox6",
    }
    return evaluate(Predictions(**{**fields, **changes}), 1.4, num_resamples=50)


class Reader(HTMLParser):
    """Collects the tags, the table cells and every address that an HTML file would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_report_has_every_part_and_the_right_numbers(tmp_path: Path) -> None:
    result = evaluation()
    path = write_report(tmp_path / "test", result)
    text = path.read_text()
    assert {file.name for file in path.parent.iterdir()} == {
        "report.md",
        "report.html",
        "confusion_matrix.png",
        "confusion_matrix.json",
        "reliability.png",
        "uar_by_seconds.png",
    }
    uar = result["uar"]
    assert f"UAR {uar['value']:.1%} (95% interval {uar['low']:.1%} to {uar['high']:.1%})" in text
    assert "chance is 12.5%: 96 clips of 12 speakers in 3 folds, protocol ravdess-emobox6" in text
    for label, row in result["per_class"].items():
        assert f"| {label} | {row['recall']:.1%} | {row['precision']:.1%} |" in text
    assert f"| female | {result['per_sex']['female']['uar']:.1%} |" in text
    assert "changes 300.0 times per minute" in text
    assert "Half of the streams are settled 0.85 s after speech onset" in text
    assert "leak" not in text
    assert all((path.parent / name).is_file() for name in re.findall(r"!\[.*?\]\((.*?)\)", text))
    stored = json.loads((path.parent / "confusion_matrix.json").read_text())
    assert stored == {"labels": result["labels"], "counts": result["confusion"]}


def test_html_is_one_well_formed_file_with_the_same_tables(tmp_path: Path) -> None:
    result = evaluation()
    write_report(tmp_path, result)
    reader = Reader()
    reader.feed((tmp_path / "report.html").read_text())
    assert not reader.open
    assert reader.tags.count("img") == 3
    for address in reader.addresses:
        kind, data = address.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    tables = [block for block in document(result) if isinstance(block, Table)]
    assert reader.cells == [cell for table in tables for row in (table.header, *table.rows) for cell in row]


def test_leaky_split_is_called_leaky(tmp_path: Path) -> None:
    write_report(tmp_path, evaluation(speaker_disjoint=False))
    assert "> **This split leaks" in (tmp_path / "report.md").read_text()
    assert "<p class=warning>This split leaks" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("field", ["sexes", "folds", "logits_at", "tracks", "settled", "protocol"])
def test_what_is_not_known_is_left_out(field: str, tmp_path: Path) -> None:
    empty: dict[str, Any] = {"logits_at": {}, "protocol": ""}
    write_report(tmp_path, evaluation(**{field: empty.get(field, ())}))
    text = (tmp_path / "report.md").read_text()
    assert ("By sex" in text) == (field != "sexes")
    assert ("By fold" in text) == (field != "folds")
    assert ("uar_by_seconds.png" in text) == (field != "logits_at")
    assert ("per minute" in text) == (field != "tracks")
    assert ("settled" in text) == (field != "settled")
    assert "None" not in text
    assert "nan" not in text


def test_one_speaker_has_no_interval(tmp_path: Path) -> None:
    write_report(tmp_path, evaluation(speakers=("only",) * 96))
    text = (tmp_path / "report.md").read_text()
    assert "of 1 speaker in" in text
    assert re.search(r"\| UAR \| \d+\.\d% \| - \|", text)


def test_names_cannot_break_the_markup(tmp_path: Path) -> None:
    blocks: list[Block] = [Sentence("<script>"), Table(("a",), (("x|y <b>",),))]
    assert "| x\\|y <b> |" in as_markdown("T", blocks)
    page = as_html("<i>", blocks, tmp_path)
    assert "&lt;script&gt;" in page
    assert "x|y &lt;b&gt;" in page
    assert "<title>&lt;i&gt;</title>" in page
