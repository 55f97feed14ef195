"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: speech and song, audio only.

Speech: 24 actors (12 women, 12 men) say two sentences in North American English with eight emotions, each but
neutral at two intensities and everything twice: 60 clips an actor, 1,440 in all. Two clips of actor 7
(03-01-03-01-02-01-07 and 03-01-03-01-02-02-07) carry the same audio in the official release.

Song: 23 of these actors (18 is missing) sing the same sentences with neutral, calm, happy, sad, angry and
fearful: 44 clips an actor, 1,012 in all. The song part was not at hand: its file names are read as the
publisher describes them, and size and MD5 of its archive are as others have noted them down.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from vocaffect.corpora.base import Archive, Corpus, CorpusError, Entry, named_clips, register_corpus
from vocaffect.labels import EMOTIONS

_NAME = r"(?P<emotion>\d\d)-(?P<intensity>\d\d)-(?P<sentence>\d\d)-(?P<take>\d\d)-(?P<actor>\d\d)"
_EMOTIONS = {f"{code:02}": emotion for code, emotion in enumerate(EMOTIONS, 1)}
_INTENSITIES = {"01": "normal", "02": "strong"}
_SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


@register_corpus("ravdess")
class Ravdess(Corpus):
    """The speech of RAVDESS, by its official file names; other parts of the corpus are passed over."""

    channel: ClassVar[str] = "01"
    title = "RAVDESS speech"
    language = "English"
    homepage = "https://zenodo.org/records/1188976"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    )
    num_clips = 1440
    layout = "ravdess/Actor_01/03-01-01-01-01-01-01.wav"
    archive = Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        file_name="Audio_Speech_Actors_01-24.zip",
        num_bytes=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
        max_unpacked_bytes=1_000_000_000,
    )

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, f"03-{self.channel}-{_NAME}"):
            yield _entry(path, name)


@register_corpus("ravdess-song")
class RavdessSong(Ravdess):
    """The songs of RAVDESS, in a folder of their own or beside the speech; whoever sings here speaks there."""

    channel = "02"
    title = "RAVDESS song"
    num_clips = 1012
    layout = "ravdess-song/Actor_01/03-02-01-01-01-01-01.wav"
    archive = Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip?download=1",
        file_name="Audio_Song_Actors_01-24.zip",
        num_bytes=225_505_317,
        md5="5411230427d67a21e18aa4d466e6d1b9",
        max_unpacked_bytes=1_000_000_000,
    )
    speakers_of = "ravdess"

    def locate(self, data_root: Path) -> Path:
        """``data_root/ravdess-song``, else ``data_root/ravdess``, else ``data_root``."""
        folders = [folder for name in (self.name, "ravdess") if (folder := data_root / name).is_dir()]
        return folders[0] if folders else data_root


def _entry(path: Path, name: dict[str, str]) -> Entry:
    try:
        return Entry(
            path=path,
            emotion=_EMOTIONS[name["emotion"]],
            speaker=name["actor"],
            sex="male" if int(name["actor"]) % 2 else "female",
            intensity=_INTENSITIES[name["intensity"]],
            sentence=_SENTENCES[name["sentence"]],
        )
    except KeyError as error:
        raise CorpusError(f"the name of {path} holds the code {error}, unknown to RAVDESS: mend or remove it") from None
