"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset.

91 actors (43 women, 48 men) say twelve sentences in American English with anger, disgust, fear, happiness,
sadness and neutrally, the first sentence at three intensities: 7,442 clips. The emotion is the one the actor was
asked for; who hears only the voice names that one in 41 % of the clips, so published scores are low. The clips
were not at hand: the reader follows the file lists of the official repository, and the sexes its table
VideoDemographics.csv. One official name is cut short, 1040_ITH_SAD_X.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}
_SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_NAME = (
    rf"(?P<actor>10\d\d)_(?P<sentence>{'|'.join(_SENTENCES)})_(?P<emotion>{'|'.join(_EMOTIONS)})"
    r"_(?P<intensity>LO|MD|HI|XX?)"
)
_WOMEN = (
    "02 03 04 06 07 08 09 10 12 13 18 20 21 24 25 28 29 30 37 43 46 47 49 52 53 54 55 56 58 60 61 63 72 73 74 75 76 78 "
    "79 82 84 89 91"
)
"""What follows 10 in the numbers of the actresses."""


@register_corpus("cremad")
class CremaD(Corpus):
    """CREMA-D by its official file names, as 1001_IEO_ANG_HI; of the same clip as wav and mp3 the wav counts."""

    title = "CREMA-D, 91 actors"
    language = "English"
    homepage = "https://github.com/CheyneyComputerScience/CREMA-D"
    licence = "ODbL 1.0"
    citation = (
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Trans. Affective Computing 5(4), pp. 377-390. "
        "https://doi.org/10.1109/TAFFC.2014.2336244"
    )
    num_clips = 7442
    layout = "cremad/AudioWAV/1001_DFA_ANG_XX.wav"
    access = "CREMA-D is free to get at https://github.com/CheyneyComputerScience/CREMA-D (with git-lfs)"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            yield Entry(
                path=path,
                emotion=_EMOTIONS[name["emotion"]],
                speaker=name["actor"],
                sex="female" if name["actor"][2:] in _WOMEN.split() else "male",
                intensity=_INTENSITIES.get(name["intensity"], ""),
                sentence=_SENTENCES[name["sentence"]],
            )
