"""The version of vae-run."""

__version__ = "0.1.0"
