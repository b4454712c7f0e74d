"""What a run records of its steps."""

import jax.numpy as jnp
import numpy as np

from sde_lib import SDES
from training import levels
from training.watch import MetricsWatch, Stopwatch


def test_losses_fall_into_intervals_of_log_snr():
    rng = np.random.default_rng(0)
    edges = np.array([-8.0, -4.0, 0.0, 4.0, 8.0], np.float32)
    log_snr, losses = rng.uniform(-9, 9, 200).astype(np.float32), rng.uniform(size=200).astype(np.float32)
    found = np.asarray(levels.totals(jnp.asarray(edges), jnp.asarray(log_snr), jnp.asarray(losses)))
    inner = [-np.inf, -4.0, 0.0, 4.0, np.inf]
    for i in range(4):
        inside = (log_snr > inner[i]) & (log_snr <= inner[i + 1])
        np.testing.assert_allclose(found[:, i], [losses[inside].sum(), inside.sum()], rtol=1e-5)


def test_an_interval_that_no_step_met_is_left_out():
    watch = MetricsWatch(edges=[-2.0, 0.0, 2.0])
    for step, loss in enumerate((1.0, 3.0)):
        by_level = np.array([[[loss, 0.0], [1.0, 0.0]]])
        watch.add(step, {"loss": np.array([loss]), "gradient_norm": np.array([2.0]), "by_level": by_level})
    assert watch.means() == {"loss": 2.0, "gradient_norm": 2.0, "loss_at_log_snr_-2.0_to_0.0": 2.0}


def test_every_process_has_intervals():
    for name, sde in SDES.items():
        edges = np.asarray(levels.edges(sde()))
        assert np.isfinite(edges).all() and (np.diff(edges) > 0).all(), name


def test_time_is_split_into_data_host_and_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("training.watch.time.monotonic", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds

    clock = Stopwatch()
    for _ in range(2):
        with clock.of("data"):
            pass_by(0.25)
        pass_by(1.0)
        with clock.of("host"):
            pass_by(0.5)
    assert clock.split(2) == {"seconds_step": 1.0, "seconds_data": 0.25, "seconds_host": 0.5}
    pass_by(3.0)
    assert clock.split(1) == {"seconds_step": 3.0, "seconds_data": 0.0, "seconds_host": 0.0}
