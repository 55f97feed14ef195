"""MELD, the Multimodal EmotionLines Dataset: utterances from the television series Friends.

13,708 utterances with neutral, joy, surprise, sadness, anger, fear and disgust, on three sides (train, dev, test)
whose clips are numbered alike. The release lacks dia110_utt7 of dev and holds dia125_utt3 of train damaged; both
are passed over, which leaves 13,706, as are the clips that no table names. Spontaneous it is not, nor clean:
there is laughter, music and other people's speech, and names such as All or Man are not one voice. The clips
were not at hand: the reader follows the tables and the folders of the release as its users describe them.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, CorpusError, Entry, named_clips, register_corpus

_NAME = r"[^/]*(?P<side>train|dev|test)[^/]*/(?:.*/)?dia(?P<Dialogue_ID>\d+)_utt(?P<Utterance_ID>\d+)"
_UNUSABLE = {("train", "125", "3"), ("dev", "110", "7")}
_SEXES = dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female") | dict.fromkeys(("Chandler", "Joey", "Ross"), "male")
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


@register_corpus("meld")
class Meld(Corpus):
    """MELD by its official tables and clips, as train_sent_emo.csv and train_splits/dia0_utt0.mp4."""

    title = "MELD, from the series Friends"
    language = "English"
    homepage = "https://affective-meld.github.io/"
    licence = "GPL-3.0, cut from a television series"
    citation = (
        "Poria S, Hazarika D, Majumder N, Naik G, Cambria E, Mihalcea R (2019). MELD: A Multimodal Multi-Party "
        "Dataset for Emotion Recognition in Conversations. Proc. ACL 2019. https://arxiv.org/abs/1810.02508"
    )
    num_clips = 13_706
    layout = "meld/train_splits/dia0_utt0.mp4 (and dev_splits_complete, output_repeated_splits_test)"
    access = "MELD is free to get at https://affective-meld.github.io/"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip that its side's table names.

        Raises:
            CorpusError: if a side has clips and no table, or a table lacks a column.
        """
        tables: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
        for path, name in named_clips(root, _NAME):
            side, dialogue, utterance = name.values()
            if side not in tables:
                tables[side] = _table(root, side)
            row = tables[side].get((dialogue, utterance))
            if row is None or (side, dialogue, utterance) in _UNUSABLE:
                continue
            speaker = _clean(row["Speaker"])
            sentence = _clean(row["Utterance"])
            yield Entry(path, row["Emotion"], speaker, _SEXES.get(speaker, ""), sentence=sentence)


def _table(root: Path, side: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a side's table by dialogue and utterance."""
    found = sorted(root.rglob(f"{side}_sent_emo.csv"))
    if not found:
        raise CorpusError(f"there is no {side}_sent_emo.csv under {root}: put the tables of MELD beside its clips")
    with found[0].open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    if missing := [name for name in _COLUMNS if any(row.get(name) is None for row in rows)]:
        raise CorpusError(f"{found[0]} lacks the columns {', '.join(missing)}: get the tables of MELD again")
    return {(row["Dialogue_ID"].strip(), row["Utterance_ID"].strip()): row for row in rows}


def _clean(text: str) -> str:
    """The text in one line, without the characters that its tables carry from another encoding."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
