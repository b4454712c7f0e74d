"""How a training step that knows no devices is put together from shares of its batch.

A step is given an object with three methods: `averaged(function)`, of a function (params, examples) ->
((loss [], losses [b]), gradient), makes loss and gradient means over all shares; `gather(tree)` makes of [b]
[batch], all shares one after the other; `total(tree)` adds what each share has.
"""

import dataclasses

import jax


class Whole:
    """One share, the whole batch."""

    def averaged(self, function):
        """The function itself."""
        return function

    def gather(self, tree):
        """The tree itself."""
        return tree

    def total(self, tree):
        """The tree itself."""
        return tree


@dataclasses.dataclass(frozen=True)
class Named:
    """The shares of a mapped axis, within `jax.pmap` or `jax.shard_map`, that have whole parameters each."""

    axis: str

    def averaged(self, function):
        """Loss and gradient as means over the axis: one sum of as many numbers as there are parameters."""

        def call(params, examples):
            (loss, losses), gradient = function(params, examples)
            loss, gradient = jax.lax.pmean((loss, gradient), self.axis)
            return (loss, losses), gradient

        return call

    def gather(self, tree):
        """[b] of every share -> [batch]."""
        return jax.lax.all_gather(tree, self.axis, tiled=True)

    def total(self, tree):
        """The sum over all shares."""
        return jax.lax.psum(tree, self.axis)
