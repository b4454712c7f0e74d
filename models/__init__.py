"""What is learned: Flax networks, and how their output is read as a denoiser."""

from components import create as _create
from models.unet import UNet

MODELS = {
    "unet": UNet,
}


def create(config, channels, variance_output="none"):
    """The network that the subtree `model` describes, for images of that many channels.

    `variance_output` is none, shared or branch: where a second output for each channel comes from.

    Raises:
      ConfigError: unknown name, or a field that this network does not have.
    """
    return _create(MODELS, config, "model", channels=channels, variance_output=variance_output)
