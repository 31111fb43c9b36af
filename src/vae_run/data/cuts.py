"""How many images the size of a set stands for."""

from vae_run.errors import DataError


def images_in(key: str, size: float | int, available: int) -> int:
    """The number of images that `size` stands for; a share in (0, 1) is at least one image."""
    if isinstance(size, int) and size >= 0:
        return size
    if not 0 <= size < 1:
        raise DataError(
            f"dataset.{key}={size}: expected a share in [0, 1) or a whole number of images"
        )
    return max(1, round(size * available)) if size > 0 else 0
