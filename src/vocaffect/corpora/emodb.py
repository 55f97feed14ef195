"""EMO-DB, the Berlin Database of Emotional Speech.

Ten actors (5 women, 5 men) say ten everyday sentences in German with anger, boredom, disgust, anxiety,
happiness, sadness and neutrally; of all that was recorded, the 535 clips are published that listeners found
natural and recognised. Boredom (81 clips) has no place among the eight emotions: `prepare` leaves it out and
says so, which makes 454. Of 47 clips no copy was at hand, so the reader was tried on 488 of the 535.
"""

from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, Entry, named_clips, register_corpus

_NAME = r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<version>[a-z])"
_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "anxiety",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_WOMEN = frozenset({"08", "09", "13", "14", "16"})
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


@register_corpus("emodb")
class EmoDb(Corpus):
    """EMO-DB by its official file names, as 03a01Wa: speaker, sentence, emotion, version."""

    title = "EMO-DB, Berlin, 10 actors"
    language = "German"
    homepage = "http://emodb.bilderbar.info/"
    licence = "CC0 1.0"
    citation = (
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005). A Database of German Emotional Speech. "
        "Proc. Interspeech 2005, pp. 1517-1520. https://doi.org/10.21437/Interspeech.2005-446"
    )
    num_clips = 535
    layout = "emodb/wav/03a01Fa.wav"
    access = "EMO-DB is free to get at http://emodb.bilderbar.info/"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip."""
        for path, name in named_clips(root, _NAME):
            sex = "female" if name["speaker"] in _WOMEN else "male"
            sentence = _SENTENCES.get(name["text"], name["text"])
            yield Entry(path, _EMOTIONS[name["emotion"]], name["speaker"], sex, sentence=sentence)
