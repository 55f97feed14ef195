"""Knowing the voice: the baseline is what it says it is, streams, exports, and is not led astray by skewed sessions."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vocaffect.export import state_specs, to_onnx
from vocaffect.features import FrontEnd
from vocaffect.models import Network, build_model
from vocaffect.models.voice import KEPT_UTTERANCES, Voice, VoiceState
from vocaffect.state import pack

TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
NUM_LABELS = 5


def known_voice(seed: int = 0) -> Voice:
    """With a centre and means as training would leave them."""
    voice, rng = Voice(NUM_LABELS), torch.Generator().manual_seed(seed)
    voice.centre.copy_(torch.randn(NUM_LABELS, generator=rng))
    voice.means.copy_(3 * torch.eye(NUM_LABELS) - 0.6)
    return voice


def network(kind: str, voice: Voice | None) -> Network:
    torch.manual_seed(1)
    if kind == "encoder":
        frontend, options = FrontEnd({"waveform": {}}, win_s=0.010), {"encoder": TINY, "layers": [1]}
    else:
        frontend, options = FrontEnd({"mfcc": {}}), dict[str, Any](hidden_size=12)
    model = build_model(kind, num_features=frontend.num_features, num_labels=NUM_LABELS, **options)
    return Network(frontend, model, voice).eval()


def test_an_even_session_is_less_its_running_mean() -> None:
    """Each emotion as often as the others: nothing is left out of the mean."""
    voice = known_voice()
    offset = torch.randn(NUM_LABELS, generator=torch.Generator().manual_seed(2))
    logits = voice.centre + offset + torch.cat([6 * torch.eye(NUM_LABELS)] * 3)
    said = voice.through(logits[None])[0]
    count = torch.arange(1, len(logits) + 1)[:, None]
    mean = (logits - voice.centre).cumsum(0) / (count + voice.prior)
    even = NUM_LABELS * 2 - 1  # from here on no emotion has more than three clips of ten
    assert torch.allclose(said[even:], (logits - mean)[even:], atol=1e-4)


def test_one_emotion_alone_is_not_taken_for_the_voice() -> None:
    voice = known_voice()
    angry = voice.centre + voice.means[2]
    said = voice.through(angry.expand(1, 60, NUM_LABELS))[0] - voice.centre
    assert (said.argmax(1) == 2).all()
    margin = said[:, 2] - said[:, [0, 1, 3, 4]].amax(1)
    assert margin[-1] > 0.8 * margin[0]
    plain = Voice(NUM_LABELS)
    plain.centre.copy_(voice.centre)
    drifted = plain.through(angry.expand(1, 60, NUM_LABELS))[0] - voice.centre
    assert (drifted[-1] - drifted[-1].mean()).abs().max() < 0.3 * (said[-1] - said[-1].mean()).abs().max()


def test_of_four_emotions_most_may_be_taken_for_one_before_the_voice_is_known() -> None:
    """A voice that sounds happier than training's, whatever it feels, is no lopsided session."""
    voice, rng = Voice(4), torch.Generator().manual_seed(0)
    voice.means.copy_(torch.eye(4) - 0.25)
    shown = torch.cat([torch.randperm(4, generator=rng) for _ in range(15)])
    logits = voice.means[shown] + torch.tensor([3.0, 0.0, 0.0, 0.0]) + 0.3 * torch.randn(60, 4, generator=rng)
    assert (logits.argmax(1) == 0).all()
    recognised = voice.through(logits[None])[0].argmax(1)
    assert (recognised[20:] == shown[20:]).all()


def test_old_utterances_fade() -> None:
    voice = known_voice()
    state, begun = voice.initial_state(1), torch.zeros(1, 1)
    for _ in range(100):
        _, _, state = voice(torch.zeros(1, 1, NUM_LABELS), begun, state)
    assert float(state.known[0, 0]) == pytest.approx(KEPT_UTTERANCES)


@given(cuts=st.lists(st.integers(1, 29), max_size=5, unique=True), seed=st.integers(0, 99))
def test_within_an_utterance_it_matters_not_how_logits_are_cut(cuts: list[int], seed: int) -> None:
    voice, rng = known_voice(), torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 30, NUM_LABELS, generator=rng)
    before = VoiceState(*(torch.rand(2, 1 + 2 * NUM_LABELS, generator=rng) for _ in range(2)))
    whole, _, after = voice(logits, torch.zeros(2, 1), before)
    begun, state, parts = torch.zeros(2, 1), before, []
    for part in np.split(logits.numpy(), sorted(cuts), axis=1):
        adapted, begun, state = voice(torch.from_numpy(part), begun, state)
        parts.append(adapted)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)
    assert torch.allclose(pack(state), pack(after), atol=1e-6)


def test_what_is_observed_of_training_voices_settles_at_their_means() -> None:
    voice, rng = Voice(3), torch.Generator().manual_seed(0)
    means = torch.tensor([[4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    for _ in range(300):
        targets = torch.randint(0, 3, (64,), generator=rng)
        voice.observe(means[targets] + 0.1 * torch.randn(64, 3, generator=rng), targets)
    assert torch.allclose(voice.centre, means.mean(0), atol=0.1)
    assert torch.allclose(voice.means, means - means.mean(0), atol=0.1)
    voice.observe(torch.zeros(4, 3), torch.full((4,), -1))
    assert torch.isfinite(voice.means).all()


@pytest.mark.parametrize("kind", ["lstm", "encoder"])
def test_a_graph_carries_the_voice_from_utterance_to_utterance(kind: str) -> None:
    whole = kind == "encoder"
    tested = network(kind, known_voice())
    session = onnxruntime.InferenceSession(to_onnx(tested, 6_400 if whole else None))
    scopes = {spec.name: spec.scope for spec in state_specs(tested)}
    assert scopes == {"memory": "segment", "voice": "stream"}
    rng, voice, lasting = np.random.default_rng(0), np.zeros((2, 2 + 4 * NUM_LABELS), np.float32), None
    for _ in range(4):
        samples = 0.1 * rng.standard_normal((2, 6_400)).astype(np.float32)
        memory = np.zeros((2, session.get_inputs()[1].shape[1]), np.float32)
        logits, _, _, _, _, voice = session.run(
            None, {"samples": samples, "state.memory": memory, "state.voice": voice}
        )
        fresh = tested.initial_state(2)
        output, state = tested(torch.from_numpy(samples), fresh if lasting is None else fresh._replace(voice=lasting))
        lasting = state.voice
        expected: Tensor = output.logits[:, -1] if whole else output.logits
        assert np.abs(logits - expected.detach().numpy()).max() < 1e-4
        assert np.abs(voice - pack(lasting).detach().numpy()).max() < 1e-4


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="even < lopsided"):
        Voice(4, even=2.0, lopsided=1.5)


@pytest.mark.parametrize(
    ("num_labels", "even", "lopsided"), [(2, 0.6, 1.0), (4, 0.6, 1.0), (6, 0.4, 4 / 6), (8, 0.3, 0.5)]
)
def test_what_counts_as_lopsided_depends_on_how_many_labels_there_are(
    num_labels: int, even: float, lopsided: float
) -> None:
    voice = Voice(num_labels)
    assert (voice.even, voice.lopsided) == pytest.approx((even, lopsided))


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["encoder", "lstm"])
def test_a_shift_of_the_logits_is_one_behind_the_voice_too(kind: str) -> None:
    """In all that a network says, utterance by utterance, with and without a voice, and in what it knows of one."""
    offset = torch.linspace(-1, 1, NUM_LABELS)
    samples = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(4))
    for voice in (None, known_voice()):
        plain, shifted = network(kind, voice), network(kind, voice and known_voice())
        shifted.shift(offset)
        before, after = plain.initial_state(2), shifted.initial_state(2)
        for _ in range(2):
            (expected, *_), before = plain(samples, before)
            (found, *_), after = shifted(samples, after)
            assert torch.allclose(found, expected + offset, atol=1e-5)
        if voice is not None:
            assert isinstance(after.voice, VoiceState)
            assert isinstance(before.voice, VoiceState)
            assert torch.allclose(after.voice.newest, before.voice.newest, atol=1e-5)
