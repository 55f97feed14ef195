"""IEMOCAP, the Interactive Emotional Dyadic Motion Capture database.

Ten actors (5 women, 5 men) in five dialogues of two, scripted and improvised, in American English: 10,039
utterances, each labelled by what most of at least three listeners heard. Excited (1,041) counts as happy, as in
the usual protocol of four emotions (5,531 utterances with happy, angry, sad and neutral). Frustrated (1,849),
other (3) and what listeners could not agree on (2,507) have no place among the eight emotions: `prepare` leaves
them out and says so, which makes 5,680.

The corpus is given by its owners to those who ask and sign; it was not at hand: the reader follows published
descriptions of its folders, its evaluation files and its counts.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, CorpusError, Entry, named_clips, register_corpus

_NAME = r"(?P<dialogue>Ses(?P<session>0[1-5])[FM]_(?:impro|script)\w*)_(?P<sex>[FM])(?P<turn>\d{3})"
_LINE = re.compile(r"\[[\d. -]+\]\s+(?P<utterance>Ses\w+)\s+(?P<emotion>[a-z]{3})\s")
_EMOTIONS = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "happiness",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
    "xxx": "no agreement",
}
_SEXES = {"F": "female", "M": "male"}


@register_corpus("iemocap")
class Iemocap(Corpus):
    """IEMOCAP by its official folders, Session1 to Session5, wherever they lie."""

    title = "IEMOCAP, dialogues of 10 actors"
    language = "English"
    homepage = "https://sail.usc.edu/iemocap/"
    licence = "research use, by agreement"
    citation = (
        "Busso C, Bulut M, Lee CC, Kazemzadeh A, Mower E, Kim S, Chang JN, Lee S, Narayanan SS (2008). IEMOCAP: "
        "Interactive emotional dyadic motion capture database. Language Resources and Evaluation 42(4), "
        "pp. 335-359. https://doi.org/10.1007/s10579-008-9076-6"
    )
    num_clips = 10_039
    layout = "iemocap/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    access = "IEMOCAP is given on request: ask for it at https://sail.usc.edu/iemocap/iemocap_release.htm"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry an utterance.

        Raises:
            CorpusError: if the evaluation of an utterance is missing or holds a code that is not known.
        """
        labels = _labels(root)
        for path, name in named_clips(root, _NAME):
            emotion = _EMOTIONS.get(labels.get(path.stem, ""))
            if emotion is None:
                raise CorpusError(
                    f"no evaluation tells the emotion of {path.name}: IEMOCAP keeps it in SessionN/dialog/"
                    f"EmoEvaluation/{name['dialogue']}.txt, so copy those folders too"
                )
            speaker = name["session"] + name["sex"]
            yield Entry(path, emotion, speaker, _SEXES[name["sex"]])


def _labels(root: Path) -> dict[str, str]:
    """The code of each utterance's emotion."""
    files = (file for file in root.rglob("EmoEvaluation/*.txt") if not file.name.startswith("."))
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return {line["utterance"]: line["emotion"] for text in texts for line in _LINE.finditer(text)}
