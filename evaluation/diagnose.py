"""diagnostics.py over noise levels, as numbers and as a figure."""

import jax
import jax.numpy as jnp
import numpy as np

import diagnostics
import figures
import variational
from evaluation.held_out import example_keys, mean_and_error
from training import parallel
from training.logging import Progress, say
from training.workdir import write_json


def diagnose(setup, params, held_out, config, workdir):
    """Writes diagnostics.json and diagnostics.png: the score against what makes it one, by noise level."""
    settings = config.eval
    times = variational.log_snr_levels(setup.sde, settings.loss_levels)
    examples = held_out.numbered(settings.diagnostic_images)

    def at_level(constants, examples):
        params, t, key = constants
        keys = example_keys(key, examples["index"])
        pairs = jax.vmap(jax.random.split)(keys)
        x0 = held_out.x0(pairs[:, 0], examples["example"])
        return diagnostics.at_level(pairs[:, 1], setup.sde, setup.denoiser.bind(params), x0, t)

    mapped = parallel.BatchMap(at_level, min(settings.batch_size, 8 * jax.local_device_count()))
    progress, rows = Progress(len(times), "level", "diagnostics"), []
    for level, t in enumerate(times):
        key = jax.random.fold_in(setup.key("diagnostics"), level)
        rows.append(_summary(mapped((params, np.float32(t), key), examples)))
        progress.update(1)
    progress.close()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    result = {
        "times": times,
        "log_snr": np.asarray(setup.sde.log_snr(jnp.asarray(times, jnp.float32))),
        "examples": len(examples["index"]),
        **columns,
    }
    write_json(workdir / "diagnostics.json", result)
    figures.diagnostics_figure(workdir / "diagnostics.png", result)
    say(f"wrote diagnostics.json and diagnostics.png to {workdir}")


def _summary(found):
    """Averages over examples [N] of a Diagnostics; ratios as roots of ratios of means."""

    def root_ratio(part, whole):
        return float(np.sqrt(max(np.mean(part), 0.0) / max(np.mean(whole), 1e-30)))

    def number(name):
        entry = mean_and_error(getattr(found, name))
        return {name: entry["value"], f"{name}_standard_error": entry["standard_error"]}

    floor = {} if np.isnan(found.floor).any() else number("floor")
    return {
        **number("error"),
        **floor,
        **number("implied_error"),
        "asymmetry": root_ratio(found.asymmetry, found.asymmetry_scale),
        "fokker_planck_residual": root_ratio(found.residual, found.residual_scale),
        "fokker_planck_resolution": root_ratio(
            np.std(found.residual) / np.sqrt(len(found.residual)), found.residual_scale
        ),
    }
