"""The one place where functions denoise -> denoise are put in order, and where it stands who takes which.

ORDER lists the links of a chain, the innermost first. An estimate of the variance of x_0 is that of
the model itself, before anything is done to its predictions; a temperature scales the score; then
predictions of x_0 are brought back into range.
"""

ORDER = ("variance", "temperature", "threshold", "clip")
# Samples may be drawn in any way; a likelihood is that of the model as it was trained. A fitted solver
# follows the probability flow, for which there is no temperature.
READERS = {
    "sampler": ("variance", "temperature", "threshold"),
    "calibration": ("threshold",),
    "bound": ("variance", "clip"),
    "likelihood": (),
    "encoder": (),
    "held_out": (),
}


def create(reader, **links):
    """The functions denoise -> denoise that one reader of a denoiser takes, the innermost first.

    Args:
      reader: key of READERS.
      **links: for names in ORDER a tuple of functions denoise -> denoise; those that the reader does not
        take are left out.
    """
    taken = [name for name in ORDER if name in READERS[reader]]
    return tuple(wrapper for name in taken for wrapper in links.get(name, ()))


def wrap(wrappers, denoise):
    """The denoiser in all its wrappers, the first of them innermost."""
    for wrapper in wrappers:
        denoise = wrapper(denoise)
    return denoise
