"""Losses against formulas written out, torch's own and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from vocaffect.errors import VocaffectError
from vocaffect.losses import (
    Counts,
    build_loss,
    class_weights,
    count,
    cross_entropy,
    decisions,
    distillation,
    focal,
    loss_names,
    register_loss,
    square,
    utterance_loss,
)

LABELS = ("happy", "neutral", "sad")


def logits_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_hot(*targets: int) -> torch.Tensor:
    return torch.eye(3, dtype=torch.float64)[list(targets)]


def test_cross_entropy_is_torch_s() -> None:
    logits, targets = logits_of(50, 3), torch.arange(50) % 3
    found = cross_entropy(logits, torch.eye(3, dtype=torch.float64)[targets])
    torch.testing.assert_close(found, F.cross_entropy(logits, targets, reduction="none"))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    logits, targets = logits_of(50, 3).numpy(), np.arange(50) % 3
    p = np.exp(logits[np.arange(50), targets]) / np.exp(logits).sum(1)
    expected = -((1 - p) ** gamma) * np.log(p)
    found = focal(torch.from_numpy(logits), torch.eye(3, dtype=torch.float64)[targets], gamma)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_square_loss_is_torch_s_and_smallest_where_logits_are_the_scaled_shares() -> None:
    logits, shares = logits_of(50, 3), torch.softmax(logits_of(50, 3, seed=1), -1)
    expected = F.mse_loss(logits, 7.0 * shares, reduction="none").mean(-1) / 7.0
    torch.testing.assert_close(square(logits, shares, scale=7.0), expected)
    assert square(10.0 * shares, shares).abs().max() == 0


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "square"])
def test_losses_have_gradients_even_where_nothing_is_left_to_learn(name: str) -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    loss = build_loss(name)(logits, one_hot(0, 0).float()).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    logits = logits_of(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: build_loss(name)(x, one_hot(0, 1, 2, 0)), logits)


def test_smoothing_is_torch_s_and_leaves_clips_without_a_label_out() -> None:
    logits, targets = logits_of(5, 1, 3), torch.tensor([0, 2, 1, 1, 0])
    active, lengths = torch.ones(5, 1, 1), torch.ones(5, dtype=torch.long)
    found = utterance_loss(logits, active, lengths, one_hot(*targets.tolist()), label_smoothing=0.3)
    torch.testing.assert_close(found, F.cross_entropy(logits[:, 0], targets, label_smoothing=0.3))
    shares = one_hot(*targets.tolist())
    shares[1] = 0
    known = [0, 2, 3, 4]
    found = utterance_loss(logits, active, lengths, shares, label_smoothing=0.3)
    expected = F.cross_entropy(logits[known, 0], targets[known], label_smoothing=0.3) * 4 / 5
    torch.testing.assert_close(found, expected)


def test_it_counts_only_a_clips_own_frames() -> None:
    """Against the sum written out by hand."""
    logits, active = logits_of(2, 5, 3), torch.ones(2, 5, 1)
    active[0, 1] = 0
    num_frames = torch.tensor([3, 5])
    logs = logits.log_softmax(-1)
    last = -(logs[0, 2, 2] + logs[1, 4, 0]) / 2
    every = -(logs[0, 0, 2] + logs[0, 2, 2] + logs[1, :, 0].sum()) / 7
    loss = utterance_loss(logits, active, num_frames, one_hot(2, 0), frame_weight=0.25)
    assert float(loss) == pytest.approx(float(0.75 * last + 0.25 * every), rel=1e-9)
    weights = torch.tensor([5.0, 1.0, 0.5], dtype=torch.float64)
    last = -(0.5 * logs[0, 2, 2] + 5 * logs[1, 4, 0]) / 2
    every = -(0.5 * (logs[0, 0, 2] + logs[0, 2, 2]) + 5 * logs[1, :, 0].sum()) / 7
    loss = utterance_loss(logits, active, num_frames, one_hot(2, 0), weights=weights, frame_weight=0.25)
    assert float(loss) == pytest.approx(float(0.75 * last + 0.25 * every), rel=1e-9)
    assert torch.equal(decisions(logits, num_frames)[0], logits[0, 2])


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=7), cut=st.integers(1, 6), smoothing=st.floats(0, 0.5))
def test_the_parts_of_a_batch_add_up_to_the_whole(lengths: list[int], cut: int, smoothing: float) -> None:
    logits, rng = logits_of(len(lengths), 9, 3), np.random.default_rng(sum(lengths))
    num_frames, active = torch.tensor(lengths), torch.from_numpy(rng.integers(0, 2, (len(lengths), 9, 1)))
    soft, shares = logits_of(len(lengths), 3, seed=1).softmax(1), one_hot(*rng.integers(0, 3, len(lengths)).tolist())
    counts = Counts(*(tensor.double() for tensor in count(active, num_frames)))
    parts = [slice(0, cut), slice(cut, None)]
    weights = torch.tensor([5.0, 1.0, 0.5], dtype=torch.float64)

    def losses(rows: slice, counts: Counts | None) -> torch.Tensor:
        about = (logits[rows], active[rows], num_frames[rows])
        own = utterance_loss(*about, shares[rows], focal, weights, 0.3, smoothing, counts)
        return torch.stack([own, distillation(*about, soft[rows], 2.0, 0.3, counts)])

    whole = losses(slice(None), None)
    torch.testing.assert_close(sum(losses(rows, counts) for rows in parts if len(lengths[rows])), whole)


def test_balanced_weights_make_labels_count_alike_and_a_clip_once_on_the_mean() -> None:
    emotions = ["sad"] * 6 + ["happy"] * 3 + ["neutral"]
    weights = dict(zip(LABELS, class_weights("balanced", LABELS, emotions), strict=True))
    totals = {label: weights[label] * emotions.count(label) for label in LABELS}
    assert len({round(total, 9) for total in totals.values()}) == 1
    assert np.mean([weights[emotion] for emotion in emotions]) == pytest.approx(1)
    assert class_weights("balanced", LABELS, ["sad", "sad"]) == (1.0, 1.0, 1.0)
    assert class_weights("none", LABELS, emotions) == (1.0, 1.0, 1.0)
    assert class_weights({"sad": 2.5}, LABELS, emotions) == (1.0, 1.0, 2.5)


@pytest.mark.parametrize(
    ("given_weights", "message"),
    [
        ({"sda": 1.0}, "did you mean 'sad'"),
        ({"sad": -1.0}, "sad is -1"),
        ({"sad": float("nan")}, "sad is nan"),
        (dict.fromkeys(LABELS, 0.0), "all 0"),
    ],
)
def test_senseless_weights_are_refused(given_weights: dict[str, float], message: str) -> None:
    with pytest.raises(VocaffectError, match=message):
        class_weights(given_weights, LABELS, [])


def test_names_and_parameters_of_losses() -> None:
    assert {"cross_entropy", "focal"} <= set(loss_names())
    with pytest.raises(VocaffectError, match="did you mean 'focal'"):
        build_loss("vocal")
    with pytest.raises(VocaffectError, match=r"loss 'focal' cannot be built from \{'gama': 3\}"):
        build_loss("focal", gama=3)
    with pytest.raises(VocaffectError, match="there is a loss 'focal' already"):
        register_loss("focal")(lambda logits, shares: logits)
