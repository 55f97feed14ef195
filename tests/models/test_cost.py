"""What models cost and how late they answer: against counts by hand, and on models made to be late."""

from typing import Any

import pytest
from torch import Tensor, nn
from typer.testing import CliRunner

from vocaffect.cli import build_app
from vocaffect.models import Model, build_model, model_names
from vocaffect.models.cost import cost, delay, multiply_adds

LAYERS_BY_HAND: dict[str, int] = {
    "fc": 26 * 256 + 256 * 256 + 256 * 8,
    "gru": 3 * 256 * (13 + 256) + 3 * 256 * (256 + 256) + 256 * 8,
    "lstm": 4 * 256 * (13 + 256) + 4 * 256 * (256 + 256) + 256 * 8,
    "tcn": 13 * 128 + 7 * (3 * 128 * 128 + 128 * 128) + 128 * 8,
    "crnn": 9 * 32 * 7 + 9 * 32 * 64 * 4 + 9 * 64 * 64 * 2 + 3 * 128 * (128 + 128) + 128 * 8,
}
"""Multiply-adds a frame with 13 features and 8 labels; crnn's convolutions have 7, 4 and 2 bins left of 13."""


class Shifted(Model):
    """Hears each frame so many frames late; early, if negative."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames, self.fc = frames, nn.Linear(4, 2)

    def forward(self, features: Tensor, active: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Zeros come in where frames have moved away."""
        return self.fc(nn.functional.pad(features, (0, 0, self.frames, -self.frames))), ()


@pytest.mark.parametrize("name", LAYERS_BY_HAND)
def test_multiply_adds(name: str) -> None:
    model = build_model(name, num_features=13, num_labels=8)
    assert multiply_adds(model, 13, 10) == 10 * LAYERS_BY_HAND[name]
    assert cost(model, 13, 160, 3.0, 0.5).multiply_adds_per_s == pytest.approx(100 * LAYERS_BY_HAND[name])


def test_windows_are_counted_as_often_as_they_overlap() -> None:
    model = build_model("resnet", num_features=40, num_labels=8)
    found = cost(model, 40, 160, 3.0, 0.5)
    assert found.multiply_adds_per_s == 2 * multiply_adds(model, 40, 300)
    assert (found.latency_s, found.streaming) == (0.5, "window")


def test_latency() -> None:
    late = Shifted(3)
    assert (delay(late, 4), delay(Shifted(-2), 4)) == (3, -2)
    assert cost(late, 4, 160, 3.0, 0.5).latency_s == pytest.approx(0.040)


@pytest.mark.parametrize("name", [name for name in model_names() if not name.endswith("encoder")])
def test_no_model_is_late_or_large(name: str) -> None:
    model = build_model(name, num_features=64, num_labels=8)
    found = cost(model, 64, 160, 3.0, 0.5)
    assert found.num_parameters < 1_000_000
    if found.streaming == "frame":
        assert found.latency_s == 0.010


def test_the_command() -> None:
    """The LSTM at the described size, and a recipe's model at its own."""
    runner = CliRunner(env={"COLUMNS": "200"})
    listed = runner.invoke(build_app(), ["models"]).output.splitlines()
    rows = {line.split()[0]: line for line in listed if line.strip()}
    assert set(model_names()) <= set(rows)
    assert "805,896" in rows["lstm"]
    assert "10 ms" in rows["lstm"]
    assert "frame by frame" in rows["lstm"]
    assert "on 3 s every 0.5 s" in rows["resnet"]
    assert "11,8" in rows["encoder"]


def test_the_command_with_a_recipe(tmp_path: Any) -> None:
    (tmp_path / "one.yaml").write_text("model: {name: lstm, num_layers: 1, hidden_size: 10}\nwindow: {hop_s: 0.25}\n")
    output = CliRunner(env={"COLUMNS": "200"}).invoke(build_app(), ["models", "--config", str(tmp_path / "one.yaml")])
    rows = {line.split()[0]: line.split() for line in output.output.splitlines() if line.strip()}
    assert rows["lstm"][1] == f"{4 * 10 * (13 + 10) + 80 + 88:,}"
    assert rows["resnet"][4:6] == ["250", "ms"]
