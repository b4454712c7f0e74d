"""Variance heads: a second output of the network, from which the variance of a reverse step is known."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from components import choose


def gaussian_share(ratio, sigma_data):
    """The part of the noise that stays open for Gaussian data: Var[x_0 | x_t] / ratio, ratio = r^2."""
    return sigma_data**2 / (ratio + sigma_data**2)


class VarianceHead(NamedTuple):
    """A second output of the network, from which the variance of a reverse step is known.

    Attributes:
      output: "shared" or "branch", see models/unet.py.
      read: (raw output, Prediction, sigma_data) -> Prediction with the field that it fills in.
    """

    output: str
    read: Callable


def _fraction(raw, prediction, sigma_data):
    """Where between the small and the large variance it lies (Nichol & Dhariwal 2021, eq. 15)."""
    return prediction.replace(variance_fraction=0.5 * (raw + 1))


def _second_moment(raw, prediction, sigma_data):
    """E[eps^2 | x_t], less the square of the prediction: r^2 (h - eps_hat^2) (Bao et al. 2022b, SN)."""
    eps = jax.lax.stop_gradient(prediction.eps)
    ratio = (prediction.sigma / prediction.alpha) ** 2
    return prediction.replace(x0_variance=ratio * (1 + raw - eps**2))


def _variance(raw, prediction, sigma_data):
    """Var[x_0 | x_t] itself, positive, in units of what it is for Gaussian data of this sigma_data.

    So the head starts from a Gaussian's variance at every noise level, and never multiplies an error by
    the r^2 of high noise, as the second moment does.
    """
    ratio = (prediction.sigma / prediction.alpha) ** 2
    times_gaussian = jax.nn.softplus(raw + math.log(math.e - 1))
    return prediction.replace(x0_variance=ratio * gaussian_share(ratio, sigma_data) * times_gaussian)


# Names in configs; what each is trained on is in losses.py.
VARIANCE_HEADS = {
    "none": None,
    "fraction": VarianceHead("shared", _fraction),
    "second_moment": VarianceHead("branch", _second_moment),
    "residual": VarianceHead("branch", _variance),
    "covariance": VarianceHead("branch", _variance),
}


def variance_output(config):
    """The network's `variance_output` for the subtree `denoiser`."""
    head = choose(VARIANCE_HEADS, config.variance_head, "denoiser.variance_head")
    return head.output if head else "none"
