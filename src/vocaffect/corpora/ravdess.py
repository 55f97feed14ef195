"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: its speech, audio only.

24 actors (12 women, 12 men) say two sentences in North American English with eight emotions, each but neutral
at two intensities and everything twice: 60 clips an actor, 1,440 in all. Two clips of actor 7
(03-01-03-01-02-01-07 and 03-01-03-01-02-02-07) carry the same audio in the official release.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Archive, Corpus, CorpusError, Entry, find_clips, register_corpus
from vocaffect.labels import EMOTIONS

_NAME = re.compile(r"03-01-(?P<emotion>\d\d)-(?P<intensity>\d\d)-(?P<sentence>\d\d)-\d\d-(?P<actor>\d\d)")
_EMOTIONS = {f"{code:02}": emotion for code, emotion in enumerate(EMOTIONS, 1)}
_INTENSITIES = {"01": "normal", "02": "strong"}
_SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


@register_corpus("ravdess")
class Ravdess(Corpus):
    """The speech of RAVDESS, by its official file names; other parts of the corpus are passed over."""

    title = "RAVDESS speech"
    language = "English"
    homepage = "https://zenodo.org/records/1188976"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    )
    num_clips = 1440
    archive = Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        file_name="Audio_Speech_Actors_01-24.zip",
        num_bytes=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
        max_unpacked_bytes=1_000_000_000,
    )

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip; of copies under one name, as some archives carry, the shallowest counts."""
        paths: dict[str, Path] = {}
        for path in sorted(find_clips(root), key=lambda path: (len(path.parts), path)):
            paths.setdefault(path.stem, path)
        for stem, path in paths.items():
            if match := _NAME.fullmatch(stem):
                yield _entry(path, **match.groupdict())


def _entry(path: Path, emotion: str, intensity: str, sentence: str, actor: str) -> Entry:
    try:
        return Entry(
            path=path,
            emotion=_EMOTIONS[emotion],
            speaker=actor,
            sex="male" if int(actor) % 2 else "female",
            intensity=_INTENSITIES[intensity],
            sentence=_SENTENCES[sentence],
        )
    except KeyError as error:
        raise CorpusError(f"the name of {path} holds the code {error}, unknown to RAVDESS: mend or remove it") from None
