"""What is learned: Flax networks; models/network.py says what one is."""

from components import create as _create
from models.network import Network
from models.unet import UNet

MODELS = {
    "unet": UNet,
}


def create(config, channels) -> Network:
    """The network that the subtree `model` describes, for images of that many channels.

        >>> from configs import base
        >>> create(base.get_config().model, channels=3).width
        128

    Raises:
      ConfigError: unknown name, or a field that this network does not have.
    """
    return _create(MODELS, config, "model", channels=channels)
