"""What is learned: Flax networks, and how their output is read as a denoiser."""

from creation import create as _create
from models.unet import UNet

MODELS = {
    "unet": UNet,
}


def create(config, channels, heads=1):
    """The network that the subtree `model` describes, for images of that many channels.

    `heads` is the number of outputs a channel.

    Raises:
      ConfigError: unknown name, or a field that this network does not have.
    """
    return _create(MODELS, config, "model", channels=channels, heads=heads)
