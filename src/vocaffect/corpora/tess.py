"""TESS, the Toronto Emotional Speech Set.

Two women, one of 26 years (YAF) and one of 64 (OAF), say 200 words after "Say the word" in North American
English with seven emotions: 2,800 clips. One clip of the older is officially named OA_bite_neutral. Two voices
and one carrier phrase: a corpus to train on beside others, not one to measure speaker independence with.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = r"(?P<talker>OAF?|YAF)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)"


@register_corpus("tess")
class Tess(Corpus):
    """TESS by its official file names, in whatever folders."""

    title = "TESS, Toronto, 2 women"
    language = "English"
    homepage = "https://doi.org/10.5683/SP2/E8H2MF"
    licence = "CC BY-NC-ND 4.0"
    citation = (
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis, V1. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    )
    num_clips = 2800
    layout = "tess/OAF_angry/OAF_back_angry.wav"
    access = "TESS is free to get at https://doi.org/10.5683/SP2/E8H2MF"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            speaker = "YAF" if name["talker"] == "YAF" else "OAF"
            yield Entry(path, name["emotion"], speaker, "female", sentence=f"Say the word {name['word']}")
