"""What a training and a table's samples cost: by the experiment's own page, or operations times images."""

import re

import jax
import jax.numpy as jnp

import samplers
import sde_lib
from configs import base
from experiment import create, data_range, data_shape
from papers.settings import experiment_file

# Operations a second that a network is taken to reach: half of what an A100 can do in TF32.
SUSTAINED = 8e13
# Of a step: the pass forward, and twice as much on the way back.
OF_TRAINING = 3


def said_on_the_page(config):
    """The sentence of an experiment's docstring that says how long it trains, or None.

    >>> said_on_the_page("edm/cifar10_uncond_vp")
    "About 2 days on 8 V100 (the authors' repository)."
    """
    text = " ".join(experiment_file(config).__doc__.split())
    # A point ends a sentence where a capital follows it.
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", text):
        if re.search(r"\d[^.]* (hours?|days?)\b", sentence):
            return sentence.strip()
    return None


def forward_operations(config):
    """Floating-point operations of the network for one image, as XLA counts those of the program it is given.

    Args:
      config: of a training, resolved or with its image_size.
    """
    config = _with_images(config)
    config.training.network_from = None
    experiment = create(config, ())
    params = experiment.params_template()
    x = jax.ShapeDtypeStruct((1, *experiment.shape), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    # JAX counts FLOPs of what is not compiled on CPUs alone.
    on_cpu = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    params, x, t = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=on_cpu), (params, x, t)
    )
    lowered = jax.jit(lambda params, x, t: experiment.denoiser.bind(params)(x, t).x0).lower(params, x, t)
    return float(lowered.cost_analysis()["flops"])


def network_calls(config):
    """Calls of the network for one sample, those of correctors included; None: they are chosen on the way.

    Args:
      config: of a measurement, resolved or with its image_size.
    """
    config = _with_images(config)
    # A variance that is measured costs nothing here, and has no file yet.
    config.sampling.variance = base.get_config().sampling.variance
    config.sampling.largest_bias = None
    sde, shape = sde_lib.create(config.sde), data_shape(config)
    return samplers.create(config.sampling, sde, data_range(config), data_std=None, shape=shape).nfe


def _with_images(config):
    """A copy that says what the images are as far as the data set, which is not at hand, would say it."""
    config = config.copy_and_resolve_references()
    for field, value in (("channels", 3), ("pixel_values", 256)):
        if config.data[field] is None:
            config.data[field] = value
    return config


def hours(operations):
    """Device hours of so many operations at SUSTAINED."""
    return operations / SUSTAINED / 3600


def training_hours(config, forward):
    """Device hours of a training.

    Args:
      forward: of forward_operations.
    """
    return hours(OF_TRAINING * forward * config.training.batch_size * config.training.steps)
