"""ESD, the Emotional Speech Dataset.

Ten native speakers of Mandarin (0001 to 0010) and ten of English (0011 to 0020), five women and five men each,
say the same 350 sentences of their language neutrally, angry, happy, sad and surprised: 35,000 clips. The clips
were not at hand: the reader follows the official description and the layouts in which the corpus is about, with
and without folders for training, evaluation and test.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = (
    r"(?P<emotion>Angry|Happy|Neutral|Sad|Surprise)/(?:(?:train|evaluation|test)/)?"
    r"(?P<speaker>00(?:0[1-9]|1\d|20))_(?P<number>\d{6})"
)
_MEN = frozenset({"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"})
_SENTENCES = 350


@register_corpus("esd")
class Esd(Corpus):
    """ESD by its official folders and file names, as 0011/Angry/0011_000351."""

    title = "ESD, 20 speakers"
    language = "English, Mandarin"
    homepage = "https://hltsingapore.github.io/ESD/"
    licence = "research use"
    citation = (
        "Zhou K, Sisman B, Liu R, Li H (2022). Emotional voice conversion: Theory, databases and ESD. Speech "
        "Communication 137, pp. 1-18. https://doi.org/10.1016/j.specom.2021.11.006"
    )
    num_clips = 35_000
    layout = "esd/0011/Angry/0011_000351.wav"
    access = "ESD is free for research: see https://hltsingapore.github.io/ESD/"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip; the numbers of a speaker's clips count the sentences anew with every emotion."""
        for path, name in named_clips(root, _NAME):
            language = "en" if name["speaker"] > "0010" else "zh"
            sentence = (int(name["number"]) - 1) % _SENTENCES + 1
            sex = "male" if name["speaker"] in _MEN else "female"
            yield Entry(path, name["emotion"], name["speaker"], sex, sentence=f"{language}-{sentence:03}")
