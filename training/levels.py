"""The training loss by noise level, in a few intervals of log-SNR."""

import jax.numpy as jnp

INTERVALS = 4


def edges(sde):
    """[INTERVALS + 1] log-SNRs, equally spaced from the most to the least noise that a process has."""
    ends = sde.log_snr(jnp.asarray([sde.t_max, sde.t_min], jnp.float32))
    return jnp.linspace(ends[0], ends[1], INTERVALS + 1)


def totals(edges, log_snr, losses):
    """[2, intervals] the sum of the losses in each interval, and their number.

        >>> totals(jnp.array([-2.0, 0, 2]), jnp.array([-1.0, 1, 3]), jnp.array([5.0, 6, 8])).tolist()
        [[5.0, 14.0], [1.0, 2.0]]

    Args:
      edges: [intervals + 1], increasing; what lies beyond the ends counts for the first or last interval.
      log_snr, losses: [b].
    """
    interval = jnp.searchsorted(edges[1:-1], log_snr)
    one_hot = (interval[:, None] == jnp.arange(len(edges) - 1)).astype(losses.dtype)
    return jnp.stack([losses @ one_hot, one_hot.sum(0)])


def means(edges, totals):
    """{name: mean loss of an interval that holds any}; the names tell the interval.

    >>> means([-2.0, 0.0, 2.0], [[6.0, 0.0], [3.0, 0.0]])
    {'loss_at_log_snr_-2.0_to_0.0': 2.0}
    """
    rows = zip(edges[:-1], edges[1:], *totals, strict=True)
    return {f"loss_at_log_snr_{a:.1f}_to_{b:.1f}": float(s / n) for a, b, s, n in rows if n}
