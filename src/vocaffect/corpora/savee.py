"""SAVEE, Surrey Audio-Visual Expressed Emotion.

Four men, native speakers of English, say sentences from TIMIT with anger, disgust, fear, happiness, sadness and
surprise (15 each) and neutrally (30): 480 clips. The clips were not at hand: the reader follows the file Info.txt
of the corpus, for its own folders (DC/a01) and for the flat copies that are about (DC_a01).
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_NAME = rf"(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>{'|'.join(_EMOTIONS)})(?P<sentence>\d\d)"


@register_corpus("savee")
class Savee(Corpus):
    """SAVEE by its official file names, in a folder for each speaker."""

    title = "SAVEE, 4 men"
    language = "English"
    homepage = "http://kahlan.eps.surrey.ac.uk/savee/"
    licence = "research use, after registration"
    citation = (
        "Haq S, Jackson PJB (2010). Multimodal Emotion Recognition. In: Machine Audition: Principles, Algorithms "
        "and Systems, IGI Global, pp. 398-423"
    )
    num_clips = 480
    layout = "savee/AudioData/DC/a01.wav"
    access = "SAVEE is free for research: register at http://kahlan.eps.surrey.ac.uk/savee/"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            code = name["emotion"] + name["sentence"]
            yield Entry(path, _EMOTIONS[name["emotion"]], name["speaker"], "male", sentence=code)
