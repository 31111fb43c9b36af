"""Networks: encoders from images to features, decoders from codes to features; one class an option.

May import config, corruptions.
"""

from vae_run.models.networks.base import Decoder, Encoder, Network, flatten_samples, parameter_count
from vae_run.models.networks.conv import Conv, ResNet
from vae_run.models.networks.conv1d import Conv1d
from vae_run.models.networks.mlp import MLP

__all__ = [
    "MLP",
    "Conv",
    "Conv1d",
    "Decoder",
    "Encoder",
    "Network",
    "ResNet",
    "flatten_samples",
    "parameter_count",
]
