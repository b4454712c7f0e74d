"""A variance branch trained alone, on top of a network that stays as it was trained (Bao et al. 2022b).

The parameters are those of denoisers.heads.WithVarianceBranch: "network" and "variance_branch".
"""

import jax
import optax


def optimizer(inner):
    """The optax transformation that updates the branch's parameters alone, and keeps no state of others."""
    kinds = {"network": "frozen", "variance_branch": "trained"}
    return optax.multi_transform({"trained": inner, "frozen": optax.set_to_zero()}, kinds)


def without_gradient_elsewhere(params):
    """The parameters, constants but for the branch's: nothing is differentiated below it."""
    return {**params, "network": jax.lax.stop_gradient(params["network"])}


def below(params):
    """The network's parameters under a branch; those of a mixture or a network without one as they are."""
    if isinstance(params, dict) and "variance_branch" in params:
        return params["network"]
    return params


def onto(params, network):
    """The parameters with those of a trained network under the branch."""
    return {**params, "network": network}
