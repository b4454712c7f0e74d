"""A variance head trained alone, on top of a network that stays as it was trained (Bao et al. 2022b)."""

import jax
import optax

OWN = "variance_"


def _is_own(path):
    return path[0].key.startswith(OWN)


def optimizer(inner):
    """The optax transformation that updates the head's parameters alone, and keeps no state of others."""

    def labels(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: "own" if _is_own(path) else "other", params)

    return optax.multi_transform({"own": inner, "other": optax.set_to_zero()}, labels)


def without_gradient_elsewhere(params):
    """The parameters, constants but for the head's: nothing is differentiated below it."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if _is_own(path) else jax.lax.stop_gradient(leaf), params
    )


def below(params):
    """The parameters without the head's; those of a mixture, or of a network without a head, as they are."""
    if not isinstance(params, dict):
        return params
    return {name: leaf for name, leaf in params.items() if not name.startswith(OWN)}


def onto(params, network):
    """The parameters with those of a trained network in place of all but the head's."""
    return {**params, **network}
