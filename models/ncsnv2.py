"""NCSNv2 (Song & Ermon 2020, appendix B): a RefineNet that does not know the noise level.

Its output divided by sigma is the score (technique 3 there): `denoiser.parametrization="score"`. The
published networks take images in [0, 1] (`data.centered=False`) to [-1, 1] (`recentre=True`).
"""

import flax.linen as nn

from models.refinenet import RefineNet, Stage

# By the image side that they were made for: deeper, so that the coarsest features are never large.
FORMS = {
    64: (Stage(1), Stage(2, halves=True), Stage(2, dilation=2), Stage(2, dilation=4)),
    128: (
        Stage(1),
        Stage(2, halves=True),
        Stage(2, halves=True),
        Stage(4, dilation=2),
        Stage(4, dilation=4),
    ),
    256: (
        Stage(1),
        Stage(2, halves=True),
        Stage(2, halves=True),
        Stage(2, halves=True),
        Stage(4, dilation=2),
        Stage(4, dilation=4),
    ),
}


def form_for(image_side):
    """The key of FORMS that serves images of that side: 64 below 96, 128 up to 128, else 256."""
    return 64 if image_side < 96 else 128 if image_side <= 128 else 256


class NCSNv2(RefineNet):
    """Network [B, H, W, C] x [B] -> [B, H, W, channels] that ignores the noise level.

    Attributes:
      form: key of FORMS; None: by the larger side of the images.
    """

    form: int | None = None

    def __post_init__(self):
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"form={self.form} must be one of {', '.join(map(str, FORMS))}")
        super().__post_init__()

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width] before their norm; see models.network.Network."""
        return self.refine(x, FORMS[self.form or form_for(max(x.shape[1:3]))])
