"""What is learned: Flax networks, and how their output is read as a denoiser."""

from creation import create as _create
from models.unet import UNet

MODELS = {
    "unet": UNet,
}


def create(config, channels):
    """The network that the subtree `model` describes, for images of that many channels.

    Raises:
      ConfigError: unknown name, or a field that this network does not have.
    """
    return _create(MODELS, config, "model", channels=channels)
