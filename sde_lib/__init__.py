"""What is simulated: forward processes and the closed forms that follow from alpha and sigma."""

from components import create as _create
from sde_lib.cosine import Cosine, InterpolatedCosine, ShiftedCosine
from sde_lib.discrete import DDPM, SMLD, ImprovedDDPM
from sde_lib.edm import EDM
from sde_lib.rectified_flow import RectifiedFlow
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

SDES = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "cosine": Cosine,
    "shifted_cosine": ShiftedCosine,
    "interpolated_cosine": InterpolatedCosine,
    "rectified_flow": RectifiedFlow,
    "ddpm": DDPM,
    "iddpm": ImprovedDDPM,
    "smld": SMLD,
}


def create(config):
    """The SDE that the subtree `sde` describes.

        >>> from configs import base
        >>> vp = create(base.get_config().sde)
        >>> round(float(vp.alpha(0.5) ** 2 + vp.sigma(0.5) ** 2), 6)
        1.0

    Raises:
      ConfigError: unknown name, or a field that this SDE does not have.
    """
    return _create(SDES, config, "sde")
