"""Forms: how each code base names the parts of its networks, and which form the names in a file are of."""

import re
from collections.abc import Callable
from typing import NamedTuple

from importers import adm, adm_classifier, ddim, diffusers, edm, edm2, mapping, ncsn, song
from importers.refusal import RefusedFile, shown
from models.adm import ADM
from models.ddpm import DDPM
from models.dhariwal_unet import DhariwalUNet
from models.edm2 import EDM2
from models.ncsn import NCSN
from models.ncsnpp import NCSNpp
from models.ncsnv2 import NCSNv2
from models.song_unet import SongUNet
from models.unet import UNet


class Form(NamedTuple):
    """How a code base names what its networks have.

    Attributes:
      code: whose it is, for messages.
      networks: classes of models/ that its rows are made for; () for all.
      rows: (network, template, image side) -> rows of importers.mapping.
      ignored: (arrays, template) -> names that are no weights.
    """

    code: str
    networks: tuple
    rows: Callable
    ignored: Callable = lambda arrays, template: ()


def _own_rows(network, template, side):
    return [mapping.Row((path,), (path,), mapping.SAME) for path in mapping.flatten(template)]


# No form of a network that denoises: networks of its Form are those that it guides.
CLASSIFIER = "adm_classifier"
FORMS = {
    "undrift": Form("this project's export", (), _own_rows),
    "score_sde": Form("score_sde", (DDPM, NCSNpp), lambda net, like, side: song.flax_rows(net, like)),
    "score_sde_pytorch": Form(
        "score_sde_pytorch",
        (DDPM, NCSNpp),
        lambda net, like, side: song.pytorch_rows(net, like),
        lambda arrays, like: song.IGNORED,
    ),
    "edm": Form("EDM", (SongUNet, DhariwalUNet), edm.rows, lambda arrays, like: edm.ignored(arrays)),
    "edm2": Form("EDM2", (EDM2,), edm2.rows, lambda arrays, like: edm2.ignored(like)),
    "adm": Form(
        "improved-diffusion or guided-diffusion", (ADM,), lambda net, like, side: adm.rows(net, like)
    ),
    CLASSIFIER: Form("guided-diffusion's classifiers", (ADM,), lambda net, like, side: adm.rows(net, like)),
    "ddim": Form("DDIM or pytorch_diffusion", (UNet, DDPM), ddim.rows),
    "diffusers": Form("diffusers", (UNet, DDPM), diffusers.rows),
    "ncsn": Form(
        "ncsn or ncsnv2",
        (NCSN, NCSNv2),
        lambda net, like, side: ncsn.rows(net, like),
        lambda arrays, like: ncsn.IGNORED,
    ),
}
# In the order in which they are looked for: a name that only arrays of this form have.
_SIGNS = {
    "score_sde_pytorch": re.compile(r"all_modules\.[0-9]{1,5}\."),
    "edm2": re.compile(r"unet\.enc\.[0-9]{1,5}x[0-9]{1,5}_"),
    "edm": re.compile(r"(model\.)?enc\.[0-9]{1,5}x[0-9]{1,5}_conv\."),
    "adm": re.compile(r"input_blocks\.0\.0\."),
    "ddim": re.compile(r"temb\.dense\.0\."),
    "diffusers": re.compile(r"down_blocks\.0\."),
    "ncsn": re.compile(r"begin_conv\."),
    "score_sde": re.compile(r"(ResnetBlock\w*|GaussianFourierProjection|Dense)_[0-9]{1,5}/"),
}


def form_of(arrays):
    """The key of FORMS that the names of arrays are of.

    Args:
      arrays: {name: array}, with what stands before the names of a network still there.

    Raises:
      RefusedFile: of none, or of a network that none here is.
      ValueError: of a classifier whose architecture is unknown.
    """
    forms = (form for form, sign in _SIGNS.items() if any(map(sign.match, arrays)))
    form = next(forms, None)
    if form is None:
        names = ", ".join(shown(name) for name in sorted(arrays)[:3])
        raise RefusedFile(f"its arrays ({names}, ...) are named as in no code base that is known here.")
    return _form_of_adm(arrays) if form == "adm" else form


def _form_of_adm(arrays):
    """The key of FORMS: a U-Net, or a classifier once its architecture is a known one."""
    refusal = adm.refusal(arrays)
    if refusal:
        raise RefusedFile(refusal)
    if not adm_classifier.is_one(arrays):
        return "adm"
    adm_classifier.architecture(arrays)
    return CLASSIFIER
