"""ASED, the Amharic Speech Emotion Dataset.

65 people (25 women, 40 men) of four dialects say seven sentences for each of five emotions, two of which all
emotions share: 2,474 clips. The other 25 belong to one emotion each, so whoever learns from this corpus alone
can learn the words instead of the voice. Four pairs of clips carry the same audio in the official release. The
names of five clips give their speaker another sex than all the rest of that speaker's clips do; those are right.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = r"(?P<emotion>n1|f2|h3|[sS]4|a5)-(?P<sentence>\d\d)-(?P<take>\d\d)-(?P<sex>01|02)-(?P<speaker>\d\d)"
_EMOTIONS = {"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"}
_SEXES = {"01": "female", "02": "male"}


@register_corpus("ased")
class Ased(Corpus):
    """ASED by its official file names, as n1-01-02-01-33: emotion, sentence, repetition, sex, speaker."""

    title = "ASED, 65 people"
    language = "Amharic"
    homepage = "https://github.com/Ethio2021/ASED_V1"
    licence = "none stated: research use"
    citation = (
        "Retta EA, Almekhlafi E, Sutcliffe R, Mhamed M, Ali H, Feng J (2022). A New Amharic Speech Emotion Dataset "
        "and Classification Benchmark. ACM TALLIP. https://doi.org/10.1145/3529759"
    )
    num_clips = 2474
    layout = "ased/01Neutral/n1-01-01-01-01.wav"
    access = "ASED is free to get at https://github.com/Ethio2021/ASED_V1"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip; a speaker's sex is what most of the speaker's clips say."""
        clips = list(named_clips(root, _NAME))
        sexes: dict[str, Counter[str]] = defaultdict(Counter)
        for _, name in clips:
            sexes[name["speaker"]][_SEXES[name["sex"]]] += 1
        for path, name in clips:
            code, speaker = name["emotion"].lower(), name["speaker"]
            sex = sexes[speaker].most_common(1)[0][0]
            yield Entry(path, _EMOTIONS[code], speaker, sex, sentence=f"{code}-{name['sentence']}")
