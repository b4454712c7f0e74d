"""Draws that belong to examples: one key each, whatever the batch or the devices."""

import jax


def fold_in(keys, number):
    """The keys [B], each with a number folded in."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def normal(keys, shape, dtype=None):
    """[B, *shape] standard normal noise, one draw for each key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype or float))(keys)


def example_keys(key, index):
    """[B] keys of the examples with these numbers [B]."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
