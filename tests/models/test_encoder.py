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
from vocaffect.models.memory import Memory, spoken

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
    layers, active = noise(2, 3, 40, 6), (torch.arange(40) % 3 > 0).float()[None, :, None].expand(2, -1, -1)
    found = Statistics(6, attention=False)(layers, active)
    kept = layers[:, :, torch.arange(40) % 3 > 0]
    assert torch.allclose(found, torch.cat([kept.mean(2), kept.std(2, correction=0)], dim=-1), atol=1e-3)


def test_attention_weighs_frames_and_never_silence() -> None:
    torch.manual_seed(3)
    pool, layers = Statistics(6, attention=True), noise(1, 1, 40, 6)
    active = (torch.arange(40) < 30).float()[None, :, None]
    found = pool(layers, active)
    assert torch.allclose(found, pool(layers[:, :, :30], active[:, :30]), atol=1e-6)
    assert not torch.allclose(found, Statistics(6, attention=False)(layers, active), atol=1e-3)


@pytest.mark.parametrize("attention", [False, True])
@torch.inference_mode()
def test_what_is_remembered_is_what_would_be_found(attention: bool) -> None:
    """Alone or filled up with silence among longer clips; and nothing is found twice."""
    given = clips(60, 41, 22)
    network = frozen(attention=attention)
    features = torch.nn.utils.rnn.pad_sequence([clip[0] for clip, _ in given], batch_first=True)
    active = torch.nn.utils.rnn.pad_sequence([heard[0] for _, heard in given], batch_first=True)
    fresh = network(features, active)[0]
    network._memory = Memory(10)
    first, again = network(features, active)[0], network(features, active)[0]
    assert torch.allclose(first, fresh, atol=1e-5)
    assert torch.equal(first, again)
    assert len(network._memory) == 3
    for row, (clip, heard) in enumerate(given):
        assert torch.allclose(network(clip, heard)[0][0, -1], first[row, -1], atol=1e-6)
    assert len(network._memory) == 3


def test_memory_stops_where_it_is_full() -> None:
    memory, asked = Memory(1 / 1024), []

    def find(question: Tensor) -> tuple[Tensor, ...]:
        asked.append(question)
        return (question + torch.zeros(100),)

    for _ in range(2):
        for question in range(4):
            assert memory.recall(find, torch.tensor(float(question)))[0][0] == question
    assert len(memory) == 2
    assert len(asked) == 4 + 2


def test_spoken_is_the_clip_up_to_its_last_sound() -> None:
    features, active = noise(9, 4), torch.tensor([0.0, 1, 0, 1, 0, 0, 0, 0, 0])[:, None]
    assert torch.equal(spoken(features, active)[0], features[:4])
    assert len(spoken(features, torch.zeros(9, 1))[0]) == 1


def test_preparing_standardises_what_the_head_hears() -> None:
    network, given = frozen(), clips(60, 41, 22, 35)
    network.prepare(given)
    assert network._memory is not None
    assert len(network._memory) == 4
    found = torch.cat([(network._statistics(*clip) - network.mean) / network.deviation for clip in given])
    assert found.mean(0).abs().max() < 1e-4
    steady = network.deviation > 1.01e-4
    assert (found.std(0, correction=0)[steady] - 1).abs().max() < 1e-3


def test_what_learns_is_not_remembered() -> None:
    network = model()
    network.prepare(clips(30, 40))
    assert network._memory is None
    network(*clips(30)[0])[0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_parts_learn_by_themselves() -> None:
    network = model()
    for name, parameter in network.encoder.named_parameters():
        parameter.requires_grad_(name.startswith("layers.1"))
    network.prepare(clips(30, 40))
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
    with pytest.raises(EncoderError, match=r"encoders fetch moonshine-base.*sha256"):
        model(encoder="moonshine-base", layers=[1]).prepare([])
