"""A trained model in files for use without vae-run: ONNX, `torch.export`, safetensors, folders.

May import config, corruptions, data, evaluation, models, runs, system.
"""

from vae_run.exports.export import FORMATS, Written, export
from vae_run.exports.graph import Part
from vae_run.exports.hub import push_to_hub, save_pretrained
from vae_run.exports.pretrained import from_pretrained
from vae_run.exports.source import Source, source_of

__all__ = [
    "FORMATS",
    "Part",
    "Source",
    "Written",
    "export",
    "from_pretrained",
    "push_to_hub",
    "save_pretrained",
    "source_of",
]
