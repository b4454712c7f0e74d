"""What is learned: Flax networks; models/network.py says what one is."""

import dataclasses

from components import create as _create
from models.adm import ADM
from models.ddpm import DDPM
from models.dhariwal_unet import DhariwalUNet
from models.edm2 import EDM2
from models.ncsn import NCSN
from models.ncsnpp import NCSNpp
from models.ncsnv2 import NCSNv2
from models.network import Network
from models.song_unet import SongUNet
from models.unet import UNet

MODELS = {
    "unet": UNet,
    "edm2": EDM2,
    "adm": ADM,
    "song_unet": SongUNet,
    "dhariwal_unet": DhariwalUNet,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "ddpm": DDPM,
    "ncsnpp": NCSNpp,
}


def create(config, channels, classes=0) -> Network:
    """The network that the subtree `model` describes, for images of that many channels and classes.

        >>> from configs import base
        >>> create(base.get_config().model, channels=3).width
        128

    Raises:
      ConfigError: unknown name, or a field that this network does not have.
    """
    cls = MODELS.get(config.name)
    reads_classes = cls and "classes" in {field.name for field in dataclasses.fields(cls)}
    return _create(
        MODELS, config, "model", channels=channels, **({"classes": classes} if reads_classes else {})
    )
