"""Every shipped recipe: it reads, it builds, it learns for two steps."""

from pathlib import Path

import pytest
import torch

from vocaffect.features import FrontEnd
from vocaffect.labels import EMOTIONS
from vocaffect.losses import utterance_loss
from vocaffect.models import Network, build_model, model_names
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.units import seconds_to_samples

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def network_of(recipe: Recipe) -> Network:
    torch.manual_seed(0)
    frontend = FrontEnd(**recipe.frontend.model_dump())
    given = recipe.model.parameters
    model = build_model(recipe.model.name, num_features=frontend.num_features, num_labels=len(EMOTIONS), **given)
    return Network(frontend, model)


def test_every_model_has_a_recipe() -> None:
    assert {read_recipe(path).model.name for path in CONFIGS} >= set(model_names())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_two_steps(path: Path) -> None:
    """Of the same two clips: the loss is a number, and falls."""
    recipe = read_recipe(path)
    network = network_of(recipe).train()
    samples = 0.1 * torch.randn(2, seconds_to_samples(0.6), generator=torch.Generator().manual_seed(1))
    samples[1, 8_000:] = 0
    network.frontend.fit(list(samples))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    num_frames = torch.tensor([len(samples[0]), 8_000]) // network.frontend.hop
    shares, losses = torch.eye(len(EMOTIONS))[[0, 3]], list[float]()
    for _ in range(3):
        torch.manual_seed(2)
        logits, _, active = network(samples)[0]
        loss = utterance_loss(logits, active, num_frames, shares, frame_weight=recipe.training.frame_weight)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
        optimiser.step()
    assert losses[-1] < losses[0]
