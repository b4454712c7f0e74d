"""What is simulated: forward processes and the closed forms that follow from alpha and sigma."""

from creation import create as _create
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

SDES = {
    "vp": VP,
    "ve": VE,
    "subvp": SubVP,
}


def create(config):
    """The SDE that the subtree `sde` describes.

    Raises:
      ConfigError: unknown name, or a field that this SDE does not have.
    """
    return _create(SDES, config, "sde")
