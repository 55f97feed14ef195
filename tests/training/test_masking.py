"""SpecAugment's masks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.errors import VocaffectError
from vocaffect.training.masking import MaskOptions, mask


def masked(options: MaskOptions, num_frames: list[int], planes: int = 1, epoch: int = 1, seed: int = 0) -> torch.Tensor:
    places = torch.tensor([[epoch, clip] for clip in range(len(num_frames))])
    ones = torch.ones(len(num_frames), max(num_frames), 12 * planes)
    return mask(ones, torch.tensor(num_frames), places, options, seed=seed, planes=planes, hop=160)


def test_none_by_default() -> None:
    features = torch.randn(2, 5, 12)
    assert mask(features, torch.tensor([5, 3]), torch.zeros(2, 2), MaskOptions(), seed=0, hop=160) is features


@given(num_frames=st.lists(st.integers(1, 200), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_masks_of_time_lie_within_a_clip_and_are_no_longer_than_told(num_frames: list[int], seed: int) -> None:
    options = MaskOptions(time_masks=1, time_mask_s=0.3, time_mask_share=0.25)
    for row, own in zip(masked(options, num_frames, seed=seed), num_frames, strict=True):
        gone = (row == 0).all(1).nonzero()[:, 0].tolist()
        assert torch.equal(row == 0, (row == 0).all(1, keepdim=True).expand_as(row))
        assert len(gone) <= min(30, 0.25 * own)
        assert gone == list(range(gone[0], gone[0] + len(gone))) if gone else True
        assert all(frame < own for frame in gone)


def test_masks_reach_every_width_and_place() -> None:
    options = MaskOptions(time_masks=1, time_mask_s=0.05, time_mask_share=1.0)
    rows = [masked(options, [20], epoch=epoch)[0, :, 0] for epoch in range(600)]
    assert {int((row == 0).sum()) for row in rows} == set(range(6))
    assert torch.stack(rows).eq(0).any(0).all()


def test_a_band_is_the_same_in_features_and_deltas() -> None:
    options = MaskOptions(feature_masks=2, feature_mask_share=0.4)
    for epoch in range(30):
        row = masked(options, [7], planes=3, epoch=epoch)[0]
        assert torch.equal(row, row[:1].expand(7, -1))
        assert torch.equal(row[0, :12], row[0, 12:24])
        assert torch.equal(row[0, :12], row[0, 24:])


def test_a_clip_s_masks_depend_on_nothing_but_seed_epoch_and_clip() -> None:
    options = MaskOptions(time_masks=2, feature_masks=2)
    together = masked(options, [50, 80])
    alone = mask(torch.ones(1, 80, 12), torch.tensor([80]), torch.tensor([[1, 1]]), options, seed=0, planes=1, hop=160)
    assert torch.equal(together[1:], alone)
    assert not torch.equal(together, masked(options, [50, 80], epoch=2))
    assert not torch.equal(together, masked(options, [50, 80], seed=1))


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(VocaffectError, match="time_mask_share is 3"):
        MaskOptions(time_mask_share=3)
