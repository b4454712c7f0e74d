"""The evaluator `loss`: the mean-squared error of eps on held-out data, by noise level.

Beside the network's stands the loss of the exact denoiser of a Gaussian that was fitted to the training
images; a mixture's loss stands beside its closed form.
"""

import numpy as np

from components import positive
from evaluation import mixture
from evaluation.evaluator import Evaluator, Figure
from evaluation.held_out import HeldOutLoss
from evaluation.noise_levels import measure
from workdir.records import read_metrics


class Loss(Evaluator):
    name = "loss"
    reads = ("data",)

    def refusals(self, config):
        yield from positive(config.eval, "eval", "loss_levels")

    def settings(self, config):
        return {"loss_levels": config.eval.loss_levels}

    def measure(self, evaluation):
        experiment, settings = evaluation.experiment, evaluation.config.eval
        if experiment.mixture is not None:
            return mixture.loss_by_level(experiment, evaluation.scaled, settings)
        scaled, gaussian = evaluation.scaled, evaluation.gaussian
        by_level = HeldOutLoss(experiment, scaled, settings, len(scaled))

        def of_level(level):
            errors = by_level.errors(evaluation.params, level)
            row = {"model": errors.mean()}
            if len(errors) > 1:
                row["standard_error"] = errors.std(ddof=1) / np.sqrt(len(errors))
            if gaussian:
                row["fitted_gaussian"] = by_level.errors_of_gaussian(gaussian, level).mean()
            return row

        found = measure(evaluation.partial(self), settings.loss_levels, of_level, "held-out loss")
        return {"images": len(scaled), "times": by_level.times, "log_snr": by_level.log_snr, **found}

    def figures(self, entry):
        levels = f"mean over {len(entry['times'])} noise levels"
        if "floor" in entry:
            deviation = entry["largest_deviation_in_standard_errors"]
            yield Figure("held-out loss", f"{np.mean(entry['error']):.4g}", levels)
            yield Figure(
                "  against its closed form",
                f"{deviation:.1f}",
                "standard errors off at most, over the levels",
            )
            return
        for column in ("model", "fitted_gaussian"):
            if column in entry:
                note = f"{levels}, {entry['images']} held-out images"
                yield Figure(
                    f"held-out loss, {column.replace('_', ' ')}", f"{np.mean(entry[column]):.4g}", note
                )

    def pictures(self, entry, workdir, folder):
        if "floor" not in entry:
            baselines = {"fitted Gaussian": entry["fitted_gaussian"]} if "fitted_gaussian" in entry else None
            curve = (entry["log_snr"], entry["model"], baselines)
            yield "loss.png", "loss_figure", (read_metrics(workdir), *curve)
