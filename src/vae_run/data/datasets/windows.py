"""Windows of curves over time, such as those of sensors, in one .npz file.

Letters: N windows, C channels, L steps of time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from vae_run.data.dataset import Parts
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.splits import Split
from vae_run.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Windows(Arrays):
    """The arrays of `dataset=arrays`, of two or three axes, read as curves and not as images.

    Windows are [N, L], of one channel, or [N, C, L], or [N, L, C] with `channels_last`. Values are
    taken as they are, or scaled channel by channel (`scale`).

    Attributes:
        channels_last: whether the arrays are [N, L, C].
    """

    pictures: ClassVar[bool] = False
    channels_last: bool = False

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """Floats [N, C, L]. DataError names the array that is wrong."""
        parts = super().read_with(conditions)
        curves = {name: self._curves(name, split) for name, split in parts.named().items()}
        train, val, test = curves["train"], curves.get("val"), curves.get("test")
        return replace(parts, train=train, val=val, test=test)

    def _curves(self, name: str, split: Split) -> Split:
        images = split.images
        if images.dim() == 2:
            images = images[:, None]
        elif images.dim() == 4 and images.shape[1] == 1:  # an array of three axes
            images = images[:, 0]
            images = images.transpose(1, 2).contiguous() if self.channels_last else images
        else:
            raise DataError(
                f"{self}: array `{name}` has four axes; windows are [N, L], [N, C, L] or, with "
                "dataset.channels_last=true, [N, L, C]. Images are read by dataset=arrays"
            )
        return replace(split, images=images)
