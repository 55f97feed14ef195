"""Eight bits: near what they stand for, the same alone as in company, and the same product in a graph."""

import io

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from vocaffect.models.byte_lstm import ByteLstm
from vocaffect.models.eight_bits import ByteConv, ByteLinear, has_byte_lstm, has_eight_bits, in_eight_bits
from vocaffect.models.recurrent import initial_vectors, lstm


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def test_a_linear_layer_is_near_the_one_it_stands_for() -> None:
    layer, rows = nn.Linear(300, 70), noise(4, 9, 300)
    found, expected = ByteLinear(layer.weight, layer.bias)(rows), layer(rows)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


@torch.inference_mode()
def test_what_a_linear_layer_is_given_is_hardly_rounded() -> None:
    layer, rows = ByteLinear(noise(70, 300), noise(70)), noise(4, 9, 300)
    weight = layer.weight.double() * layer.scale.double()
    expected = rows.double() @ weight + noise(70).double()
    assert (layer(rows) - expected).abs().max() < 2e-4 * expected.abs().max()


@torch.inference_mode()
def test_a_last_bit_decides_of_nothing_after_many_layers() -> None:
    """What two processors make of the same numbers differs in their last bits; rounded once, it is far apart soon."""
    weights, rows = [noise(8, 300, 300)[layer] / 17 for layer in range(8)], noise(50, 300)

    def apart(finer: bool) -> float:
        layers = [ByteLinear(weight, None, finer) for weight in weights]
        one, other = rows, rows * (1 + 1e-6)
        for layer in layers:
            one, other = layer(one).tanh(), layer(other).tanh()
        return float((one - other).abs().max())

    assert apart(finer=True) < 5e-4
    assert apart(finer=False) > 20 * apart(finer=True)


@torch.inference_mode()
def test_a_row_does_not_depend_on_its_company() -> None:
    layer, rows = ByteLinear(noise(70, 300), None), noise(3, 300)
    rows[1] *= 1000
    assert torch.equal(layer(rows)[0], layer(rows[:1])[0])


@pytest.mark.parametrize("stride", [1, 3])
@torch.inference_mode()
def test_a_convolution_is_near_the_one_it_stands_for(stride: int) -> None:
    conv, frames = nn.Conv1d(40, 30, 7, stride, padding=2), noise(2, 40, 50)
    found, expected = ByteConv(conv)(frames), conv(frames)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 0.03 * expected.abs().max()


@torch.inference_mode()
def test_values_that_eight_bits_hold_are_exact() -> None:
    """Whole numbers of which each row has one at 127, and each column two neighbours that are 127 together."""
    weight, rows = noise(16, 20).mul(20).round().clamp(-60, 60), noise(5, 20).mul(40).round().clamp(-127, 127)
    weight[:, 2], weight[:, 3], rows[:, 7] = 100, -27, -127
    assert torch.allclose(ByteLinear(weight, None)(rows), rows @ weight.T, rtol=1e-6)


@pytest.mark.parametrize("width", [300, 301])
def test_two_neighbours_products_never_leave_sixteen_bits(width: int) -> None:
    """Many CPUs add the products of inputs 0 and 1, 2 and 3, ... in a number of 16 bits, which stops at its end."""
    weight = ByteLinear(noise(70, width).exp(), None).weight.int().abs()
    pairs = nn.functional.pad(weight, (0, 0, 0, width % 2)).reshape(-1, 2, 70).sum(1)
    assert 120 <= pairs.max() <= 128
    assert 255 * pairs.max() < 2**15


def recurrent(bidirectional: bool = False) -> nn.LSTM:
    torch.manual_seed(5)
    return nn.LSTM(13, 96, 2, batch_first=True, bidirectional=bidirectional).eval()


@torch.inference_mode()
def test_an_lstm_is_near_the_one_it_stands_for() -> None:
    layer, frames = recurrent(), noise(3, 200, 13)
    state = initial_vectors(layer, 3)
    expected, *states = lstm(layer, frames, state, state)
    found, *near = lstm(ByteLstm(layer), frames, state, state)
    assert (found - expected).abs().max() < 0.03
    for ours, theirs in zip(near, states, strict=True):
        assert (torch.cat(ours) - torch.cat(theirs)).abs().max() < 0.06


@torch.inference_mode()
def test_an_lstm_answers_a_row_alone_as_in_company_and_step_by_step() -> None:
    layer, frames = ByteLstm(recurrent()).double(), noise(3, 40, 13).double()
    hidden = cell = tuple(vector.double() for vector in initial_vectors(layer, 3))
    whole, *_ = layer(frames, hidden, cell)
    alone, *_ = layer(frames[1:2], *[tuple(vector[1:2] for vector in hidden)] * 2)
    assert torch.allclose(alone[0], whole[1], atol=1e-12)
    for frame, expected in zip(torch.split(frames, 1, dim=1), torch.split(whole, 1, dim=1), strict=True):
        found, hidden, cell = layer(frame, hidden, cell)
        assert torch.allclose(found, expected, atol=1e-12)


def test_an_lstm_that_reads_backwards_or_sees_a_window_stays_as_it_is() -> None:
    class Windowed(nn.Sequential):
        streaming = "window"

    one, both = recurrent(), recurrent(bidirectional=True)
    assert [type(part) for part in in_eight_bits(nn.Sequential(one, both))] == [ByteLstm, nn.LSTM]
    assert not has_byte_lstm(in_eight_bits(Windowed(one)))


def test_only_large_layers_change_and_only_in_the_copy() -> None:
    network = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 8), nn.Conv1d(1, 64, 500), nn.Conv1d(64, 64, 7))
    copy = in_eight_bits(network)
    assert [type(part) for part in copy] == [ByteLinear, nn.Linear, nn.Conv1d, ByteConv]
    assert has_eight_bits(copy)
    assert not has_eight_bits(network)


@pytest.mark.filterwarnings("ignore")
def test_a_graph_computes_the_same() -> None:
    network = nn.Sequential(nn.Conv1d(40, 64, 7, 3), nn.Flatten(), nn.Linear(64 * 15, 30)).eval()
    with torch.no_grad():
        bytes_ = in_eight_bits(network)
        frames = noise(3, 40, 50)
        expected = bytes_(frames)
    graph = io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(bytes_, (frames,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
    graph.write(model.SerializeToString())
    assert len(graph.getvalue()) < 1.5 * (64 * 280 + 30 * 960) + 20_000
    session = onnxruntime.InferenceSession(graph.getvalue())
    found = session.run(None, {session.get_inputs()[0].name: frames.numpy()})[0]
    assert np.abs(found - expected.numpy()).max() < 1e-2 * expected.abs().max()
    assert "MatMulInteger" in {node.op_type for node in model.graph.node}
