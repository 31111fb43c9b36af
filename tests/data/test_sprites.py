"""Sprites whose pixels can be counted, and a file in dSprites' format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vae_run.data.datasets import sprites
from vae_run.data.datasets.sprites import FACTORS, Sprites, different, draw, grid
from vae_run.data.splits import Split
from vae_run.errors import DataError

FEW = {"shape": 3, "scale": 2, "rotation": 4, "x": 2, "y": 2}
"""With quarter turns alone there are 2 x 4 different squares, 4 x 4 ellipses, 8 x 4 hearts."""


def one(shape: int = 0, scale: int = 5, rotation: int = 0, x: int = 16, y: int = 16) -> Tensor:
    return draw(torch.tensor([[shape, scale, rotation, x, y]]))[0]


def test_squares_are_their_pixels() -> None:
    expected = torch.zeros(64, 64, dtype=torch.uint8)
    expected[23:41, 23:41] = 1  # 18 by 18, in the middle of the image
    assert torch.equal(one(), expected)
    assert [int(one(scale=scale).sum()) for scale in range(6)] == [n * n for n in range(8, 20, 2)]


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_a_step_of_x_is_a_pixel_to_the_right_and_of_y_one_down(shape: int) -> None:
    here = one(shape, rotation=3)
    assert torch.equal(one(shape, rotation=3, x=17), here.roll(1, 1))
    assert torch.equal(one(shape, rotation=3, y=17), here.roll(1, 0))


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_rotation_turns_against_the_clock_and_keeps_the_area(shape: int) -> None:
    turned = draw(torch.tensor([[shape, 5, r, 16, 16] for r in range(40)]))
    assert torch.equal(turned[10], torch.rot90(turned[0]))
    areas = turned.sum((1, 2), dtype=torch.double)
    assert (areas / areas.mean() - 1).abs().max() < 0.09  # the upright square is the worst


def test_areas_grow_with_the_square_of_the_scale() -> None:
    for shape, largest in ((0, 17.2**2), (1, np.pi * 13.5 * 6.7), (2, 3.66 * 9**2)):
        all_ways = [[shape, scale, r, 16, 16] for scale in range(6) for r in range(40)]
        areas = draw(torch.tensor(all_ways)).sum((1, 2)).reshape(6, 40).double().mean(1)
        expected = largest * (0.5 + 0.1 * torch.arange(6)).double() ** 2
        assert torch.allclose(areas, expected, rtol=0.02)


def test_sprites_differ_but_for_their_symmetries() -> None:
    everywhere = grid()
    here = everywhere[(everywhere[:, 3:] == 16).all(1)]
    assert len(different(draw(here))) == 6 * (10 + 20 + 40)


def test_no_sprite_is_cut_off() -> None:
    corners = [
        [s, 5, r, x, y] for s in range(3) for r in range(40) for x in (0, 31) for y in (0, 31)
    ]
    images = draw(torch.tensor(corners))
    for edge in (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]):
        assert edge.sum() == 0
    areas = images.sum((1, 2)).reshape(-1, 4)
    assert (areas == areas[:, :1]).all()


@pytest.mark.parametrize("size", [8, 31, 128])
def test_other_sizes_show_the_same(size: int) -> None:
    chosen = grid()[torch.randperm(len(grid()), generator=torch.Generator().manual_seed(0))[:300]]
    white = [float(draw(chosen, side).float().mean()) for side in (size, 64)]
    assert white[0] == pytest.approx(white[1], rel=0.05)


def test_the_grid_is_dsprites() -> None:
    assert len(grid()) == 737_280
    assert grid()[1].tolist() == [0, 0, 0, 0, 1]
    assert [int(column.max()) + 1 for column in grid().T] == list(FACTORS.values())


def test_factors_and_labels_stay_with_their_images() -> None:
    splits = Sprites(images=1000).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [720, 80, 200]
    assert splits.class_names == ("square", "ellipse", "heart")
    moved = splits.train.to(torch.device("cpu")).take(torch.tensor([5, 3, 3]))
    chosen = Sprites(images=1000, classes=[2]).load()
    assert set(chosen.val.factors[:, 0].tolist()) == {2}
    for split in (splits.train, splits.val, splits.test, moved, chosen.train, chosen.test):
        assert split.factors is not None
        assert split.unordered == (0,)
        assert split.images.dtype == torch.uint8
        assert not split.has_grey
        assert torch.equal(draw(split.factors), split.images[:, 0])
        assert torch.equal(split.labels, split.factors[:, 0])


def test_binarizing_keeps_the_factors() -> None:
    plain, static = (Sprites(images=50, binarize=b).load().train for b in ("none", "static"))
    assert torch.equal(plain.factors, static.factors)
    assert torch.equal(plain.images, static.images)


def test_all_pictures_differ_and_factors_are_balanced() -> None:
    splits = Sprites(images=3000).load()
    parts = (splits.train, splits.val, splits.test)
    assert len(different(torch.cat([s.images[:, 0] for s in parts]))) == 3000
    factors = torch.cat([s.factors for s in parts]).double()
    for column, count in zip(factors.T, FACTORS.values(), strict=True):
        share = torch.bincount(column.long(), minlength=count) / 3000
        assert (share - 1 / count).abs().max() < 4.5 * (1 / count / 3000) ** 0.5
    correlation = torch.corrcoef(factors.T) - torch.eye(5)
    assert correlation.abs().max() < 4 / 3000**0.5


def test_split_seed_alone_decides() -> None:
    prints = []
    for seed, split_seed in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(seed)
        prints.append(Sprites(images=100, split_seed=split_seed).load().fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_pictures_that_look_the_same_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprites, "FACTORS", FEW)
    assert len(Sprites(images=56).read().train) == 56
    with pytest.raises(DataError, match=r"dataset.images=57: there are only 56 different .*64x64"):
        Sprites(images=57).load()
    everything = Sprites(images=None).read().train
    assert torch.equal(everything.factors, grid())


@pytest.fixture
def dsprites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in dSprites' format, of few combinations, and read in many pieces."""
    monkeypatch.setattr(sprites, "FACTORS", FEW)
    factors = grid()
    file = tmp_path / "dsprites.npz"
    np.savez_compressed(
        file,
        imgs=draw(factors).numpy(),
        latents_classes=torch.cat([torch.zeros(96, 1, dtype=torch.long), factors], 1).numpy(),
        metadata=np.array({"title": "dSprites"}, dtype=object),  # a pickle, never opened
    )
    monkeypatch.setattr(sprites, "_CHUNK", 7)
    return file


def test_dsprites_own_file(dsprites: Path) -> None:
    from_file, drawn = Sprites(path=str(dsprites), images=40).load(), Sprites(images=40).load()
    assert from_file.fingerprint() == drawn.fingerprint()
    assert torch.equal(from_file.test.factors, drawn.test.factors)
    whole: Split = Sprites(path=str(dsprites), images=None).read().train
    assert torch.equal(whole.images[:, 0], draw(grid()))


def test_another_file_is_refused_by_name(dsprites: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset.image_size=32: .*\(64, 64\)"):
        Sprites(path=str(dsprites), image_size=32).load()
    absent, other, cut = tmp_path / "no.npz", tmp_path / "other.npz", tmp_path / "cut.npz"
    np.savez(other, train=np.zeros((3, 2)))
    cut.write_bytes(dsprites.read_bytes()[:-40])
    for file in (absent, other, cut):
        with pytest.raises(DataError, match=f"dataset.path={file} cannot be read as dSprites'"):
            Sprites(path=str(file)).load()
    found = dict(np.load(dsprites, allow_pickle=True))
    for wrong in (found["imgs"] * 255, found["imgs"][:50]):  # grey levels; fewer than factors
        np.savez(other, imgs=wrong, latents_classes=found["latents_classes"])
        with pytest.raises(DataError, match="cannot be read as dSprites'"):
            Sprites(path=str(other), images=None).load()
