"""nEMO, emotional speech in Polish.

Nine actors (4 women, 5 men) say 90 sentences in Polish with anger, fear, happiness, sadness, surprise and
neutrally: 4,481 clips. Sentences have numbers here; the file data.tsv of the corpus has their words.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised)_(?P<sentence>\d+)"
_WOMEN = frozenset({"EB0", "IC0", "KD0", "MK0"})


@register_corpus("nemo")
class Nemo(Corpus):
    """nEMO by its official file names, as EB0_anger_1: speaker, emotion, sentence."""

    title = "nEMO, 9 actors"
    language = "Polish"
    homepage = "https://github.com/amu-cai/nEMO"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. Proc. LREC-COLING 2024, pp. 12111-12116. "
        "https://aclanthology.org/2024.lrec-main.1059/"
    )
    num_clips = 4481
    layout = "nemo/samples/EB0_anger_1.wav"
    access = "nEMO is free to get at https://github.com/amu-cai/nEMO"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            sex = "female" if name["speaker"] in _WOMEN else "male"
            yield Entry(path, name["emotion"], name["speaker"], sex, sentence=name["sentence"])
