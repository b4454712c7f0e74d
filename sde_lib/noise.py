"""Draws that belong to examples: one key each, whatever the batch, the devices or the environment.

Every draw of a run descends from `root_key(seed)`: `purpose_key` gives a part of the program its own key,
`example_keys` each example its own below that. The keys are threefry's by name, because the environment may
choose another generator as the default, and sde_lib/numerics.py fixes the other half of what a draw depends
on.
"""

import hashlib
import operator

import jax
import jax.numpy as jnp
import numpy as np

IMPLEMENTATION = "threefry2x32"


def root_key(seed):
    """The key of a seed, all 64 bits of which count: `jax.random.key` in 32-bit mode drops the upper half.

    Raises:
      ValueError: the seed is negative, or has more than 64 bits.
    """
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed} must lie in 0..2^64-1")
    halves = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(halves), impl=IMPLEMENTATION)


def purpose_key(root, purpose):
    """The key of one purpose ("train", "sample", ...), from 64 bits of its name's digest."""
    digest = hashlib.sha256(purpose.encode()).digest()
    for word in np.frombuffer(digest[:8], ">u4"):
        root = jax.random.fold_in(root, np.uint32(word))
    return root


def example_keys(key, index):
    """[B] keys of the examples with these numbers [B]."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def fold_in(keys, number):
    """The keys [B], each with a number folded in."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def split(keys, count=2):
    """`count` arrays of [B] keys in place of one."""
    found = jax.vmap(lambda key: jax.random.split(key, count))(keys)
    return tuple(found[:, i] for i in range(count))


def normal(keys, shape, dtype=float):
    """[B, *shape] standard normal noise, one draw for each key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)


def uniform(keys, shape=(), dtype=float):
    """[B, *shape] uniform in [0, 1), one draw for each key."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape, dtype))(keys)


def rademacher(keys, shape, dtype=float):
    """[B, *shape] random signs, one draw for each key."""
    return jax.vmap(lambda key: jax.random.rademacher(key, shape, dtype))(keys)
