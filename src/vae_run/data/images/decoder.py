"""Decoding of image files to arrays of bytes, and a worker process that decodes into files.

`python -m vae_run.data.images.decoder` is the worker: it reads jobs as lines of JSON, and ends when
its standard input is closed, also because its parent was killed. This module does not import torch,
so that the worker starts quickly.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, __version__

from vae_run.data.images.transparency import opaque
from vae_run.errors import DataError

DECODER = f"2, Pillow {__version__}"
"""Version of the decoding: caches of another version are not used."""


@dataclass(frozen=True)
class Decoder:
    """Decodes one image file to uint8 [C, H, W].

    Attributes:
        channels: C, 1 for grey or 3 for colour; images of the other kind are converted.
        height, width: H and W. The image is rotated as its EXIF orientation says, scaled to cover
            them, and cropped at the centre.
        crop: if given, a central square with this side in pixels is cut out and resized instead.
        background: grey level of 255 that shows through transparent pixels, whatever colour is
            stored there.
    """

    channels: int
    height: int
    width: int
    crop: int | None = None
    background: int = 255

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def size(self) -> int:
        """Bytes of a decoded image."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        """Everything that the decoded pixels depend on, for hashes."""
        return f"{json.dumps(asdict(self))} {DECODER}"

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """The image in the file `path`.

        Raises:
            DataError: it cannot be decoded, or has more than 8 bits per channel.
        """
        if os.path.exists(path) and not os.path.isfile(path):
            raise _unreadable(str(path), "it is a folder, a pipe or a device")
        return self.decode(path, str(path))

    def decode(
        self, source: Path | IO[bytes], named: str, formats: tuple[str, ...] | None = None
    ) -> NDArray[np.uint8]:
        """The image in `source`.

        Args:
            source: a path or an open file.
            named: its name in messages.
            formats: the accepted formats, by their names in Pillow; None: all.

        Raises:
            DataError: it cannot be decoded, or has more than 8 bits per channel.
        """
        with _readable(named), Image.open(source, formats=formats) as image:
            return self._pixels(image, named)

    def picture(self, image: Image.Image, named: str) -> NDArray[np.uint8]:
        """`image`, which may be a file that Pillow has opened but not yet read, as `decode`.

        Raises:
            DataError: it cannot be decoded, or has more than 8 bits per channel.
        """
        with _readable(named):
            return self._pixels(image, named)

    def _pixels(self, image: Image.Image, named: str) -> NDArray[np.uint8]:
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{named} has more than 8 bits per channel (mode {image.mode}): convert it to 8"
            )
        ready = self._fitted(image).convert("L" if self.channels == 1 else "RGB")
        pixels = np.asarray(ready)
        return pixels.reshape(self.height, self.width, self.channels).transpose(2, 0, 1)

    def _fitted(self, image: Image.Image) -> Image.Image:
        size = (self.width, self.height)
        if self.crop is not None:
            left, top = (round((side - self.crop) / 2) for side in image.size)
            square = image.crop((left, top, left + self.crop, top + self.crop))
            return opaque(square, self.background).resize(size, Image.Resampling.BILINEAR)
        upright = opaque(ImageOps.exif_transpose(image), self.background)
        return ImageOps.fit(upright, size, Image.Resampling.BILINEAR)


@contextmanager
def _readable(named: str) -> Iterator[None]:
    """Raise whatever Pillow raises for the image `named` as a DataError that says what to do."""
    try:
        yield
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"cannot read the image {named}: it has more than {most:,} pixels; make it "
            "smaller, or cut it into tiles"
        ) from error
    except UnidentifiedImageError as error:
        raise _unreadable(named, "it is not an image of a known format") from error
    except Exception as error:  # a damaged file can end in any of them
        raise _unreadable(named, str(error) or type(error).__name__) from error


def _unreadable(named: str, why: str) -> DataError:
    return DataError(f"cannot read the image {named}: {why}; replace or remove it")


def decode_into(file: int, offset: int, paths: Sequence[str], decoder: Decoder) -> str | None:
    """Write the decoded images `paths` consecutively into `file`, from the byte `offset` on.

    Returns:
        An error message, or None.
    """
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
            f"cannot write decoded images: {error}; free disk space, or set dataset.cache to a "
            "folder on another disk"
        )
    return None


def main() -> None:
    """Read {"decoder": {...}}, then any number of jobs {"file", "offset", "paths"}, one per line.

    The answer to each job is a line: null, or an error message as a JSON string.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is the parent's; this process ends with its input
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
