"""Four bits: near what they stand for, multiplied without rounding, half a byte in a file."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from vocaffect.models.eight_bits import ByteConv, has_eight_bits
from vocaffect.models.four_bits import NibbleLinear, in_four_bits, rounded


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def test_a_linear_layer_is_near_the_one_it_stands_for() -> None:
    layer, rows = nn.Linear(300, 70), noise(4, 9, 300)
    found, expected = NibbleLinear(layer.weight, layer.bias)(rows), layer(rows)
    assert (found - expected).norm() < 0.1 * expected.norm()


@torch.inference_mode()
def test_what_is_multiplied_is_what_was_rounded() -> None:
    weight = noise(70, 300)
    steps, factors, column = rounded(weight)
    assert steps.abs().max() <= 7
    assert factors.min() >= 1
    assert factors.max() <= 18
    held = NibbleLinear(weight, None).weight.T
    assert torch.allclose(held, (steps * factors * column).flatten(1)[:, :300], atol=1e-6)
    assert (held - weight).norm() < 0.1 * weight.norm()


@torch.inference_mode()
def test_small_blocks_keep_their_precision_beside_large_ones() -> None:
    weight = noise(8, 64)
    weight[:, :32] *= 0.1
    held = NibbleLinear(weight, None)
    assert (held.weight.T - weight)[:, :32].norm() < 0.2 * weight[:, :32].norm()


@torch.inference_mode()
def test_weights_that_four_bits_hold_are_exact() -> None:
    weight = noise(16, 64).mul(3).round().clamp(-7, 7)
    weight[:, ::32] = 7
    held = NibbleLinear(0.3 * weight, None)
    assert torch.allclose(held.weight.T, 0.3 * weight, atol=1e-5)


@torch.inference_mode()
def test_weights_that_are_loaded_are_heard() -> None:
    one, other, rows = NibbleLinear(noise(70, 300), None), NibbleLinear(3 * noise(70, 300).flip(0), None), noise(2, 300)
    assert not torch.allclose(one(rows), other(rows))
    one.load_state_dict(other.state_dict())
    assert torch.equal(one(rows), other(rows))


@pytest.mark.filterwarnings("ignore")
def test_a_graph_computes_the_same_from_half_a_byte_a_weight() -> None:
    network = nn.Sequential(nn.Conv1d(40, 64, 7, 3), nn.Flatten(), nn.Linear(64 * 15, 300)).eval()
    with torch.no_grad():
        nibbles, frames = in_four_bits(network), noise(3, 40, 50)
        expected = nibbles(frames)
    assert isinstance(nibbles[0], ByteConv)
    assert not has_eight_bits(nibbles), "no product is rounded, so the file has to answer as closely as any"
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(nibbles, (frames,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
    assert program is not None
    model = program.model_proto
    assert sum(len(tensor.raw_data) for tensor in model.graph.initializer) < 0.6 * (64 * 280 + 300 * 960)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: frames.numpy()})[0]
    assert np.abs(found - expected.numpy()).max() < 1e-5 * expected.abs().max()
