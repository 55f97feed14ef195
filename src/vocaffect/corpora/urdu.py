"""URDU, emotional speech from Urdu talk shows.

Angry, happy, neutral and sad, 100 clips each, of 38 people (11 women, 27 men); many are heard with one emotion
only, and few with more than two. The clips were not at hand: the reader was checked against the list of all 400
file names in the official repository.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = r"(?P<speaker>S(?P<sex>[MF])\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])(?P<number>\d+)"
_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
_SEXES = {"F": "female", "M": "male"}


@register_corpus("urdu")
class Urdu(Corpus):
    """URDU by its official file names, as SM1_F10_A010: speaker, the speaker's clip, emotion and its clip."""

    title = "URDU, 38 people in talk shows"
    language = "Urdu"
    homepage = "https://github.com/siddiquelatif/URDU-Dataset"
    licence = "research use"
    citation = (
        "Latif S, Qayyum A, Usman M, Qadir J (2018). Cross Lingual Speech Emotion Recognition: Urdu vs. Western "
        "Languages. Proc. FIT 2018. https://arxiv.org/abs/1812.10411"
    )
    num_clips = 400
    layout = "urdu/Angry/SM1_F1_A01.wav"
    access = "URDU is free for research at https://github.com/siddiquelatif/URDU-Dataset"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            yield Entry(path, _EMOTIONS[name["emotion"]], name["speaker"], _SEXES[name["sex"]])
