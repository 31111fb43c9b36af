"""Corruptions of the encoder's input; the reconstruction target stays clean.

May import nothing else of vae-run.
"""

from vae_run.corruptions.base import Corruption, NoCorruption
from vae_run.corruptions.images import Affine, Blur, Downsample, Grayscale, Inpainting, PatchShuffle
from vae_run.corruptions.pixels import GaussianNoise, Masking, SaltAndPepper

__all__ = [
    "Affine",
    "Blur",
    "Corruption",
    "Downsample",
    "GaussianNoise",
    "Grayscale",
    "Inpainting",
    "Masking",
    "NoCorruption",
    "PatchShuffle",
    "SaltAndPepper",
]
