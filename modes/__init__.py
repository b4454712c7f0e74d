"""One command a file: `--mode=X` is modes/X.py."""

from modes.mode import Mode

_OF_A_RUN = {"flags": ("output",), "needs": ("workdir",)}
_GOES_ON = "goes on where it stopped"

MODES = {
    "train": Mode(
        "modes.train", ("loss", "optim", "ema", "training", "checkpoint", "sampling"), (),
        ("config", "workdir", "data"), "train, or resume from the newest checkpoint in the workdir",
        "resumes from the newest checkpoint, or begins anew where there is none", shared=True),
    "sample": Mode(
        "modes.sample", ("restore", "sampling"), **_OF_A_RUN,
        summary="draw samples: samples.png, samples.npz, trajectory.png", after_a_stop=_GOES_ON, shared=True),
    "eval": Mode(
        "modes.eval", ("restore", "data", "sampling", "eval"), **_OF_A_RUN,
        summary="loss, bits/dim, bounds, FID, ... by eval.evaluators: metrics.json, evaluation.md",
        after_a_stop=_GOES_ON, shared=True),
    "encode": Mode(
        "modes.encode", ("restore", "data", "encoding"), **_OF_A_RUN,
        summary="latent codes of held-out data, decoded and interpolated: encoding.png"),
    "calibrate": Mode(
        "modes.calibrate", ("restore", "sampling.threshold", "calibration"), **_OF_A_RUN,
        summary="fit solvers of few calls to the model: fitted_<calls>.npz, calibration.png"),
    "variance": Mode(
        "modes.variance", ("restore", "data", "variance"), **_OF_A_RUN,
        summary="measure what optimal reverse variances need: variance.npz, variance.png",
        after_a_stop=_GOES_ON, shared=True),
    "optimal_grid": Mode(
        "modes.optimal_grid", ("restore", "data", "optimal_grid", "eval.bound"), **_OF_A_RUN,
        summary="the noise levels with the best bound, for any number of steps: optimal_grid.npz",
        after_a_stop=_GOES_ON, shared=True),
    "ema": Mode(
        "modes.ema", ("ema",), **_OF_A_RUN, summary="averages of any width, from snapshots: ema_<std>_*.npz"),
    "table": Mode(
        "papers.table", ("table",), ("table", "runs", "scale", "output"), ("runs",),
        "a published table beside the figures of the runs in --runs; --table=list: all of them", _GOES_ON,
        stores=False),
    "import": Mode(
        "modes.import_checkpoint", ("loss", "optim", "ema", "training"), ("from",),
        ("from", "workdir", "data"), "a workdir from a published checkpoint, --from=FILE", stores=False),
    "export": Mode(
        "modes.export", ("restore", "export"), **_OF_A_RUN,
        summary="the weights as safetensors, or for diffusers: export/, diffusers/"),
    "report": Mode(
        "modes.report", (), ("runs", "output"), ("runs",),
        "a folder of runs as one HTML page, --runs=DIR: report.html"),
    "verify": Mode(
        "modes.verify", (), (), ("workdir", "files"),
        "compare every array of a workdir's checkpoints with its digest; exit code 1 where one is damaged"),
    "diff": Mode(
        "modes.diff", (), ("runs",), ("runs",),
        "print what differs between two runs, --runs=A,B: config, code, data, metrics, figures"),
    "plan": Mode(
        "modes.plan", ("loss", "optim", "ema", "training", "sampling", "plan"), ("output",),
        ("config", "data"),
        "what a training costs on chips that need not be there, --config.plan.topology=v5e:4x4"),
    "profile": Mode(
        "modes.profile", ("loss", "optim", "ema", "training", "profile"), ("output",),
        ("config", "data"),
        "where the time of a training step goes, measured on a few: profile/, profile.json, profile.md",
        stores=False),
    "coefficients": Mode(
        "modes.coefficients", ("sampling",), (), ("config",),
        "print the sampler's table, one line a network call"),
    "check": Mode(
        "modes.check", (), ("for", "from"), ("config",),
        "print the chosen components and all that --for=MODE (default: train) would refuse"),
    "inspect": Mode(
        "modes.inspect", None, (), ("config", "data"), "print what the data set holds, and suggested settings"
    ),
    "prepare": Mode(
        "modes.prepare", None, (), ("config", "data"),
        "download and prepare a TFDS data set (requirements/tfds.txt)"),
}  # fmt: skip
