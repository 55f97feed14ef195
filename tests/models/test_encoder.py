"""The model on a pretrained encoder: its statistics, what it remembers, what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vocaffect.encoders import EncoderError
from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd
from vocaffect.models import Network, build_model
from vocaffect.models.encoder import EncoderModel, Statistics

TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(**parameters: Any) -> EncoderModel:
    torch.manual_seed(0)
    given = {"encoder": TINY, "layers": [0, 1, 2], **parameters}
    built = build_model("encoder", num_features=160, num_labels=5, **given)
    assert isinstance(built, EncoderModel)
    return built.eval()


def clips(*hops: int) -> list[tuple[Tensor, Tensor]]:
    return [(noise(1, count, 160, seed=seed), torch.ones(1, count, 1)) for seed, count in enumerate(hops)]


def frozen(**parameters: Any) -> EncoderModel:
    built = model(**parameters)
    built.encoder.requires_grad_(False)
    return built


def test_statistics_are_those_of_the_active_frames() -> None:
    layers, active = noise(2, 40, 3, 6), (torch.arange(40) % 3 > 0).float()[None, :, None].expand(2, -1, -1)
    found = Statistics(6, attention=False)(layers, active)
    kept = layers[:, torch.arange(40) % 3 > 0]
    assert torch.allclose(found, torch.cat([kept.mean(1), kept.std(1, correction=0)], dim=-1), atol=1e-3)


def test_attention_weighs_frames_and_never_silence() -> None:
    torch.manual_seed(3)
    pool, layers = Statistics(6, attention=True), noise(1, 40, 1, 6)
    active = (torch.arange(40) < 30).float()[None, :, None]
    found = pool(layers, active)
    assert torch.allclose(found, pool(layers[:, :30], active[:, :30]), atol=1e-6)
    assert not torch.allclose(found, Statistics(6, attention=False)(layers, active), atol=1e-3)


@pytest.mark.parametrize("attention", [False, True])
@torch.inference_mode()
def test_what_the_stem_says_stands_for_samples(attention: bool) -> None:
    """Of a clip alone, filled up among longer ones afterwards as batches are."""
    given = clips(60, 41, 22)
    network = frozen(attention=attention)
    stems = [network.stem(*clip)[0] for clip in given]
    assert all(stem.shape[1:] == (3, 16 if attention else 32) for stem in stems)
    features = torch.nn.utils.rnn.pad_sequence([clip[0] for clip, _ in given], batch_first=True)
    active = torch.nn.utils.rnn.pad_sequence([heard[0] for _, heard in given], batch_first=True)
    found = network(torch.nn.utils.rnn.pad_sequence(stems, batch_first=True), torch.ones(3, 1, 1))[0][:, -1]
    assert torch.allclose(found, network(features, active)[0][:, -1], atol=1e-5)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("training", [False, True])
@torch.inference_mode()
def test_layers_that_learn_hear_a_clip_from_its_first_sound_to_its_last(attention: bool, training: bool) -> None:
    """Of more clips than are heard together, one of them silent, as of all frames of each clip alone."""
    network, stems = model(attention=attention, rank=2, dropout=0.0).train(training), []
    for seed in range(19):
        hops = 30 + 7 * (seed % 5)
        active = torch.ones(1, hops, 1)
        active[:, : 3 * seed], active[:, 20:25], active[:, hops - seed // 2 :] = 0, 0, 0
        stems.append(network.stem(noise(1, hops, 160, seed=seed), active)[0])
    assert [int((stem != 0).any()) for stem in stems].count(0) >= 1
    found = network._statistics(torch.nn.utils.rnn.pad_sequence(stems, batch_first=True), torch.ones(19, 1, 1))
    for stem, statistics in zip(stems, found, strict=True):
        sounding = (stem != 0).any(2)[:, 0][None].float()
        alone = network._pooled(network.encoder.go_on(stem[None, :, 0], sounding))[0]
        assert torch.allclose(statistics, alone, atol=1e-5)


def test_the_stems_settings_are_those_of_its_weights_and_layers() -> None:
    network, other = frozen(), frozen(layers=[1])
    assert network.stem_settings() == frozen(dropout=0.5, hidden_size=7).stem_settings()
    assert network.stem_settings() != other.stem_settings()
    assert network.stem_settings() != frozen(attention=True).stem_settings()
    before = network.stem_settings()
    with torch.no_grad():
        next(network.encoder.parameters()).view(-1)[0] += 1e-6
    assert network.stem_settings() != before


@torch.inference_mode()
def test_silence_and_what_is_shorter_than_one_of_its_frames_give_numbers() -> None:
    network = Network(FrontEnd({"waveform": {}}, win_s=0.010, level_prior_s=None), model()).eval()
    for samples in (torch.zeros(2, 16_000), noise(2, 160), noise(2, 400)):
        assert torch.isfinite(network(samples)[0].logits).all()


def test_measuring_standardises_what_the_head_hears() -> None:
    network, given = frozen(), clips(60, 41, 22, 35)
    network.measure(given)
    found = torch.cat([(network._statistics(*clip) - network.mean) / network.deviation for clip in given])
    assert found.mean(0).abs().max() < 1e-4
    steady = network.deviation > 1.01e-4
    assert (found.std(0, correction=0)[steady] - 1).abs().max() < 1e-3


def test_all_of_it_may_learn() -> None:
    network = model()
    assert not network.still
    assert frozen().still
    network(*clips(30)[0])[0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_learns_before_the_layers_is_never_still() -> None:
    network = model()
    network.encoder.requires_grad_(False)
    network.encoder.get_parameter("conv3.weight").requires_grad_(True)
    assert network.learns
    assert not network.still


def test_parts_learn_by_themselves() -> None:
    network = model()
    for name, parameter in network.encoder.named_parameters():
        parameter.requires_grad_(name.startswith("layers.1"))
    assert network.learns
    assert network.still, "what goes into the layers is the same from first to last"
    network(*clips(30)[0])[0].sum().backward()
    learned = {name for name, parameter in network.encoder.named_parameters() if parameter.grad is not None}
    assert learned
    assert all(name.startswith("layers.1") for name in learned)


def test_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("VOCAFFECT_ENCODERS", str(tmp_path))
    with pytest.raises(VocaffectError, match=r"set frontend.features to \{waveform"):
        Network(FrontEnd({"mfcc": {}}), model())
    with pytest.raises(VocaffectError, match=r"layers names the layers to hear"):
        model(layers=[])
    with pytest.raises(VocaffectError, match=r"rank is 0 or more, not -1"):
        model(rank=-1)
    with pytest.raises(EncoderError, match=r"encoders fetch moonshine-base.*sha256"):
        model(encoder="moonshine-base", layers=[1]).load()
