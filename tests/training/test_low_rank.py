"""Changes of low rank: they begin at nothing, they alone learn, and they end as part of the weights."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.encoders.tiny import TINY
from vocaffect.encoders import build_encoder, merged, with_low_rank
from vocaffect.experiment import start_run, train_run
from vocaffect.packing import for_verification
from vocaffect.recipe import Recipe
from vocaffect.runs import build_network, trained_network
from vocaffect.training import checkpoint
from vocaffect.verification import verify

WAVEFORM = ("frontend.features=waveform", "frontend.win_s=0.010", "frontend.hop_s=0.010", "training.max_epochs=2")
TUNED = (
    *WAVEFORM,
    "model={name: encoder, layers: [1, 2], attention: true, rank: 2, encoder: {model_type: moonshine, hidden_size: 16, "
    "intermediate_size: 32, num_heads: 2}}",
)


def said(encoder: nn.Module) -> Tensor:
    samples = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        last: Tensor = encoder(samples, torch.ones(2, 50)).layers[-1]
    return last


def test_a_change_begins_at_nothing_and_its_merging_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(TINY["moonshine"]).eval()
    before = said(encoder)
    with_low_rank(encoder, 2)
    assert torch.equal(said(encoder), before)
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    changed = said(encoder)
    assert not torch.allclose(changed, before, atol=1e-2)
    plain = copy.deepcopy(encoder)
    merged(plain)
    assert torch.allclose(said(plain), changed, atol=1e-6)
    assert plain.state_dict().keys() == build_encoder(TINY["moonshine"]).state_dict().keys()


def test_only_the_changes_learn_and_they_are_few() -> None:
    encoder = build_encoder(TINY["moonshine"])
    whole = sum(parameter.numel() for parameter in encoder.parameters())
    with_low_rank(encoder, 2)
    learning = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    # each layer: four of 16 x 16, one of 16 x 32 and one of 32 x 16, by rank 2 from either side
    assert sum(parameter.numel() for parameter in learning) == 2 * (4 * 2 * 32 + 2 * 2 * 48) < whole / 5


def test_a_run_tunes_by_changes_and_exports_without_them(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path
) -> None:
    run = start_run(small(*TUNED), tmp_path / "run", corpus)
    train_run(run)
    torch.manual_seed(run.recipe.seed)
    begun, ended = build_network(run), checkpoint.load(run.folder / checkpoint.BEST)[0]
    moved = {
        name
        for name, tensor in begun.state_dict().items()
        if name.startswith("model.encoder.") and not torch.equal(tensor, ended[f"model.{name}"])
    }
    assert moved
    assert all(name.endswith((".down", ".up")) for name in moved)
    assert not any(name.endswith((".down", ".up")) for name in trained_network(run).state_dict())
    assert all(check.passed for check in verify(*for_verification(run.folder, corpus)))
