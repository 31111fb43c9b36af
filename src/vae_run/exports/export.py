"""Writing a model to a file that is used without vae-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vae_run.errors import ConfigError
from vae_run.exports import onnx_file
from vae_run.exports.graph import Part, refuse_part
from vae_run.exports.packages import need
from vae_run.exports.program import program_file
from vae_run.exports.scripts import script
from vae_run.exports.source import Source
from vae_run.exports.weights import weights_file
from vae_run.system.files import write_atomically

Format = Literal["onnx", "torch_export", "safetensors"]
FORMATS: Mapping[Format, str] = {
    "onnx": ".onnx",
    "torch_export": ".pt2",
    "safetensors": ".safetensors",
}
"""Each format with the ending of its files."""


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        difference: from the model, relative to the largest value of an output.
        script: an example of its use, in Python without vae-run.
    """

    path: Path
    format: Format
    difference: float
    script: str


def format_of(path: Path, format: Format | None = None) -> Format:
    """The format that `path` ends in.

    Raises:
        ConfigError: it ends in none, or not in that of `format`.
    """
    found = next((name for name, end in FORMATS.items() if path.suffix.lower() == end), None)
    if found is None or format not in (None, found):
        endings = " or ".join(FORMATS.values()) if format is None else FORMATS[format]
        raise ConfigError(f"output: found {path}, expected a name that ends in {endings}.")
    return found


def need_packages(format: Format) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ConfigError: they are not.
    """
    packages: dict[Format, tuple[str, ...]] = {
        "onnx": onnx_file.PACKAGES,
        "safetensors": ("safetensors",),
    }
    need(f"format={format}", packages.get(format, ()), "export")


def export(
    source: Source, output: Path, format: Format | None = None, part: Part = "both"
) -> Written:
    """Write the `part` of a model to `output`, which appears when it is complete and was checked.

    Args:
        source: the model, from `source_of(run)`.
        output: the file, which is replaced.
        format: None: by the ending of `output`.
        part: what ONNX and `torch.export` files compute; safetensors files have all weights.

    Raises:
        ConfigError: the format or part does not fit, or a package is missing.
        RunError: torch or ONNX cannot express the model, or the file does not agree with it.
        OSError: it cannot be written.
    """
    chosen = format_of(output, format)
    need_packages(chosen)
    if chosen == "safetensors":
        content, difference = weights_file(source, output.name)
    else:
        refuse_part(source, part)
        make = onnx_file.onnx_file if chosen == "onnx" else program_file
        content, difference = make(source, part, output.name)
    write_atomically(output, content)
    return Written(output, chosen, difference, script(source, chosen, part, output))
