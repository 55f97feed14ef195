"""Voice profiles: made by a recogniser, kept when asked, refused where they do not fit, forgotten."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from vocaffect import voices
from vocaffect.adaptation import Side, adaptation
from vocaffect.bundle import golden_signal
from vocaffect.cli import build_app, main
from vocaffect.errors import VocaffectError
from vocaffect.models.voice import Voice
from vocaffect.recognizer import Recognizer
from vocaffect.voices import VoiceProfile, delete_profile, load_profile, profile_names, save_profile


def speech(pitch: float, seconds: float = 2.0) -> NDArray[np.float32]:
    """The golden signal at another speed."""
    signal = golden_signal(seconds * pitch)
    at = np.arange(int(seconds * 16_000)) * pitch
    return np.asarray(np.interp(at, np.arange(len(signal)), signal), np.float32)


def test_a_session_is_what_the_adaptation_report_computes(voice_bundle: Path) -> None:
    recognizer = Recognizer.load(voice_bundle)
    clips, voice = [speech(pitch) for pitch in (0.9, 1.0, 1.1, 1.3)], None
    alone = np.stack([trace.voice.newest_logits for clip in clips if (trace := recognizer.posterior(clip)).voice])
    carried = []
    for clip in clips:
        trace = recognizer.posterior(clip, voice)
        voice = trace.voice
        carried.append(trace.posterior)
    model = Voice(3)
    model.means.copy_(2 * torch.eye(3) - 0.7)
    said = torch.softmax(model.through(torch.from_numpy(alone)[None])[0], -1).numpy()
    assert np.abs(said - np.stack(carried)).max() < 1e-5
    assert voice is not None
    assert voice.num_utterances == pytest.approx(4)


def test_a_stream_knows_the_voice_better_with_every_segment_until_told_otherwise(voice_bundle: Path) -> None:
    recognizer = Recognizer.load(voice_bundle)
    stream = recognizer.open_stream()
    pause = np.zeros(24_000, np.float32)
    known = list[float]()
    for _ in range(3):
        updates = stream.push(np.concatenate([speech(1.0), pause]))
        known.append(updates[-1].voice_known or 0.0)
    if not any(update.ended for update in updates):
        pytest.skip("voice activity does not take the generated signal for speech")
    assert known == sorted(known)
    assert known[-1] > known[0] > 0
    kept = stream.voice
    stream.use_voice(None)
    assert stream.voice is None
    stream.use_voice(kept)
    assert stream.voice is not None
    assert kept is not None
    assert np.array_equal(stream.voice.state["voice"], kept.state["voice"])


def test_profiles_are_kept_shown_and_forgotten(voice_bundle: Path, tmp_path: Path) -> None:
    voice = Recognizer.load(voice_bundle).posterior(speech(1.0)).voice
    assert voice is not None
    save_profile("ada", voice, tmp_path)
    assert profile_names(tmp_path) == ["ada"]
    assert (tmp_path / "ada.json").stat().st_size < 4_000
    again = load_profile("ada", tmp_path)
    assert np.allclose(again.state["voice"], voice.state["voice"], atol=1e-6)
    assert again.known == pytest.approx(1 / 6)
    with pytest.raises(VocaffectError, match="did you mean 'ada'"):
        load_profile("adda", tmp_path)
    delete_profile("ada", tmp_path)
    assert profile_names(tmp_path) == []
    with pytest.raises(VocaffectError, match="cannot be called"):
        save_profile("../ada", voice, tmp_path)
    (tmp_path / "bad.json").write_text('{"format": "vocaffect-voice-1", "voice": [1, NaN]}')
    with pytest.raises(VocaffectError, match="delete it and make it again"):
        load_profile("bad", tmp_path)


def test_another_recognisers_profile_is_refused(voice_bundle: Path, toy_bundle: Path) -> None:
    voice = Recognizer.load(voice_bundle).posterior(speech(1.0)).voice
    assert voice is not None
    with pytest.raises(VocaffectError, match="fits no other recogniser"):
        Recognizer.load(toy_bundle).posterior(speech(1.0), voice)
    with pytest.raises(VocaffectError, match="learns no voices"):
        Recognizer.load(toy_bundle).enrol(speech(1.0))


def test_enrolment_says_what_was_expressed(voice_bundle: Path) -> None:
    voice = Recognizer.load(voice_bundle).posterior(speech(1.0)).voice
    assert voice is not None
    assert voice.shown_as(2).state["voice"][0, -3:].tolist() == [0.0, 0.0, 1.0]


def test_the_commands(voice_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "voices_folder", lambda: tmp_path)
    voice = Recognizer.load(voice_bundle).posterior(speech(1.0)).voice
    assert voice is not None
    save_profile("ada", voice)

    def printed(*words: str) -> str:
        return CliRunner().invoke(build_app(), words).stdout

    assert "knows" in printed("voice", "list")
    assert json.loads(printed("voice", "show", "ada"))["recognizer"] == "knows"
    assert "forgotten" in printed("voice", "delete", "ada")
    with pytest.raises(SystemExit) as stopped:
        main(["voice", "delete", "ada"])
    assert stopped.value.code == 2


def test_sessions_that_a_test_side_cannot_show_are_left_out() -> None:
    """One speaker a fold, as where speakers are left out one by one, and no neutral clip."""
    logits, targets = np.eye(3, dtype=np.float32)[np.arange(12) % 3], 1 + np.arange(12) % 2
    sides = [Side(fold, logits, targets, np.repeat([name], 12), Voice(3)) for fold, name in ((1, "a"), (2, "b"))]
    assert list(adaptation(sides, 3)["skewed"]) == ["one_emotion"]


def test_adaptation_reports_what_a_voice_gives() -> None:
    """Voices that differ by an offset alone: cold they are confused, known they are told apart."""
    rng, voice = np.random.default_rng(0), Voice(3)
    targets, speakers = np.tile(np.arange(3), 40), np.repeat(["a", "b", "c", "d"], 30)
    offsets = {name: rng.normal(0, 3, 3) for name in "abcd"}
    logits = 3 * np.eye(3)[targets] + np.stack([offsets[name] for name in speakers]) + rng.normal(0, 0.3, (120, 3))
    voice.means.copy_(3 * torch.eye(3) - 1)
    found = adaptation([Side(1, logits.astype(np.float32), targets, speakers, voice)], 3)
    assert found["adapted"]["value"] > found["cold"]["value"] + 0.1
    assert found["by_heard"][-1]["value"] > found["by_heard"][0]["value"]
    assert set(found["skewed"]) == {"mostly_neutral", "one_emotion", "another_speaker"}


def test_a_profile_is_a_value(voice_bundle: Path) -> None:
    voice = Recognizer.load(voice_bundle).posterior(speech(1.0)).voice
    assert voice is not None
    assert VoiceProfile.from_json(voice.to_json()).to_json() == voice.to_json()
