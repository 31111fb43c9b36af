"""Image files as arrays of bytes, and the process that decodes them into a file.

`python -m vae_run.data.images.decoder` is that process: it obeys lines of JSON and ends with its
input, whatever became of who started it. This module imports no torch, so that it starts at once.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, __version__

from vae_run.errors import DataError

DECODER = f"1, Pillow {__version__}"
"""Changes with what pixels a file gives: caches of another decoder are made anew."""


@dataclass(frozen=True)
class Decoder:
    """One image file as uint8 [C, H, W].

    Attributes:
        channels: C, 1 for grey or 3 for colour; files of the other kind are converted.
        height, width: H and W. The image is turned upright (cameras note a rotation in the file),
            scaled to cover them, and cropped at the centre.
        crop: instead, the central square of so many pixels is cut out and resized.
    """

    channels: int
    height: int
    width: int
    crop: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def size(self) -> int:
        """Bytes of an image."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        """All that its pixels depend on."""
        return f"{json.dumps(asdict(self))} {DECODER}"

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """The image in the file `path`.

        Raises:
            DataError: it cannot be decoded, or has more than 8 bits a channel.
        """
        if os.path.exists(path) and not os.path.isfile(path):
            raise _unreadable(str(path), "it is a folder, a pipe or a device")
        return self.decode(path, str(path))

    def decode(
        self, source: Path | IO[bytes], named: str, formats: tuple[str, ...] | None = None
    ) -> NDArray[np.uint8]:
        """The image in `source`.

        Args:
            source: a file.
            named: how messages call it.
            formats: names of Pillow's formats that it may be of; None: any.

        Raises:
            DataError: it cannot be decoded, or has more than 8 bits a channel.
        """
        try:
            with Image.open(source, formats=formats) as image:
                if image.mode.startswith(("I", "F")):
                    raise DataError(
                        f"{named} has more than 8 bits a channel (mode {image.mode}): convert it "
                        "to 8"
                    )
                ready = self._fitted(image).convert("L" if self.channels == 1 else "RGB")
        except DataError:
            raise
        except UnidentifiedImageError as error:
            raise _unreadable(named, "it is no image of a known format") from error
        except Exception as error:  # a damaged file can end in any of them
            raise _unreadable(named, str(error) or type(error).__name__) from error
        pixels = np.asarray(ready)
        return pixels.reshape(self.height, self.width, self.channels).transpose(2, 0, 1)

    def _fitted(self, image: Image.Image) -> Image.Image:
        size = (self.width, self.height)
        if self.crop is not None:
            left, top = (round((side - self.crop) / 2) for side in image.size)
            square = image.crop((left, top, left + self.crop, top + self.crop))
            return square.resize(size, Image.Resampling.BILINEAR)
        if image.mode in ("1", "P", "PA"):  # palettes cannot be interpolated
            image = image.convert("RGBA")
        return ImageOps.fit(ImageOps.exif_transpose(image), size, Image.Resampling.BILINEAR)


def _unreadable(named: str, why: str) -> DataError:
    return DataError(f"cannot read the image {named}: {why}; replace or remove it")


def decode_into(file: int, offset: int, paths: Sequence[str], decoder: Decoder) -> str | None:
    """Write the images `paths`, one behind the other, into `file` from `offset` on; what failed."""
    try:
        pixels = np.empty((len(paths), *decoder.shape), np.uint8)
        for place, path in enumerate(paths):
            pixels[place] = decoder(Path(path))
        rest = pixels.reshape(-1).data
        while rest:
            written = os.pwrite(file, rest, offset)
            rest, offset = rest[written:], offset + written
    except DataError as error:
        return str(error)
    except OSError as error:
        return (
            f"cannot write decoded images: {error}; make room, or set dataset.cache to a folder "
            "that has it"
        )
    return None


def main() -> None:
    """Obey {"decoder": {...}}, then any number of {"file", "offset", "paths"}, a line each.

    Each of these is answered by a line: null, or what went wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who waits: we end with our input
    decoder, opened = Decoder(**json.loads(sys.stdin.readline())["decoder"]), dict[str, int]()
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        name = job["file"]
        if name not in opened:
            opened[name] = os.open(name, os.O_WRONLY)
        failed = decode_into(opened[name], job["offset"], job["paths"], decoder)
        print(json.dumps(failed), flush=True)


if __name__ == "__main__":
    main()
