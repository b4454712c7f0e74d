"""The whole schema: every field, its default and what it means.

An experiment file starts from `get_config()` here and changes fields; the command
line changes them again (`--config.sde.beta_max=10`). A field left None takes the
default of the class that `name` chooses: a subtree with a `name` lists the fields of
every class of its family, and `--config.sde=ve` sets its name. Nothing outside this
file can add a field.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

# The fields that hold a path of this machine or the address of an object in a store; data.source holds it
# behind its colon.
ADDRESSES = (
    "data.source",
    "training.network_from",
    "restore.file",
    "sampling.predictor.file",
    "sampling.grid.file",
    "sampling.variance.file",
    "eval.bound.variance.file",
)
# All that hold a path.
PATHS = (
    *ADDRESSES,
    "data.directory",
    "eval.features.weights",
    "eval.reference.file",
    "eval.reference.folder",
)


def get_config():
    """The defaults. Locked: assigning a field that is not here raises."""
    config = ConfigDict()
    config.seed = 0  # root of every random draw

    sde = config.sde = ConfigDict()  # the forward process; classes in sde_lib/
    # vp, subvp, ve, edm, cosine, shifted_cosine, interpolated_cosine, rectified_flow; ddpm, iddpm, smld
    sde.name = "vp"
    sde.t_min = placeholder(float)  # smallest time in training and likelihood
    sde.sampling_t_min = placeholder(float)  # where samplers stop before the final denoising
    sde.t_max = placeholder(float)  # time of the prior; edm: the largest noise; 1 for most others
    sde.beta_min = placeholder(float)  # vp, subvp, ddpm: beta(0)
    sde.beta_max = placeholder(float)  # vp, subvp, ddpm: beta(1)
    sde.sigma_min = placeholder(float)  # ve, smld: the smallest noise
    sde.sigma_max = placeholder(float)  # ve, smld: the largest noise; see --mode=inspect
    sde.noise_levels = placeholder(int)  # ddpm, iddpm, smld: number of levels
    sde.log_snr_max = placeholder(float)  # cosines: at t = 0, before the shift
    sde.log_snr_min = placeholder(float)  # cosines: at t = 1, before the shift
    sde.image_side = placeholder(int)  # shifted, interpolated: side of the data's images
    sde.noise_side = placeholder(int)  # shifted: side that gets the plain schedule
    sde.noise_side_low = placeholder(int)  # interpolated: the same near t = 1
    sde.noise_side_high = placeholder(int)  # interpolated: the same near t = 0

    # A mixture whose denoiser is known in place of a data set and a network; classes in denoisers/mixtures.py
    mixture = config.mixture = ConfigDict()
    mixture.name = placeholder(str)  # gaussian, two_moons, ring, digits, images; None: data and network
    mixture.components = placeholder(int)  # all but gaussian: number of Gaussians
    mixture.spread = placeholder(float)  # ring, two_moons, images: standard deviation of each
    mixture.dimension = placeholder(int)  # gaussian
    mixture.side = placeholder(int)  # images
    mixture.rank = placeholder(int)  # images: of each covariance beside its diagonal

    data = config.data = ConfigDict()
    data.source = "digits"  # digits, tfds:<name>, folder:<path>, zip:<path>, npz:<path>
    data.directory = "data_sets"  # where --mode=prepare keeps TFDS data sets
    data.image_size = placeholder(int)  # side; image files are resized to it, arrays must have it
    # Side of the square that is cut from each image before resizing: the central one, or that with its upper
    # left corner at crop_corner, (left, top). None: the largest central one
    data.crop = placeholder(int)
    data.crop_corner = placeholder(tuple)
    # Filter of the resizing: box, bilinear, bicubic, lanczos; None: box to shrink, bicubic to enlarge
    data.resize = placeholder(str)
    data.channels = placeholder(int)  # 1 to 4; None: as the source has it
    data.pixel_values = placeholder(int)  # number of pixel values; None: as the source has it
    data.classes = placeholder(int)  # number of classes; None: as the source has it, 0 without labels
    data.class_frequencies = placeholder(tuple)  # of the training data; filled in by the source
    data.centered = True  # pixels in [-1, 1]; False: [0, 1]
    data.random_flip = False  # horizontal flips in training
    data.dequantize = False  # add uniform noise of one level in training
    # Probability of each of EDM's changes of training images, of which a network with
    # model.augmentation_labels=9 is told: 0.12 for CIFAR-10, 0.15 for FFHQ and AFHQ; 0: none
    data.augmentation = 0.0
    data.background = "white"  # colour below transparent pixels, where data.channels has no alpha
    data.holdout = 0.1  # part held out where the source has no test split, by the hash of each image's name
    # Go on, or evaluate, though the data is not what the run was trained on; for one command
    data.allow_changed = False
    data.memory_gib = 8.0  # larger sources, or above half the machine's memory, are decoded on demand
    data.threads = 8  # decoders on demand

    model = config.model = ConfigDict()  # the network; classes in models/
    # unet; ncsn, ncsnv2; ddpm, ncsnpp (Song et al. 2021); adm; song_unet, dhariwal_unet (EDM); edm2
    model.name = "unet"
    model.width = placeholder(int)  # channels at full resolution
    model.multipliers = placeholder(tuple)  # channels of each resolution, in units of width
    model.blocks = placeholder(int)  # residual blocks a resolution
    model.attention = placeholder(tuple)  # image sides at which self-attention acts
    model.dropout = placeholder(float)  # in residual blocks, while training
    model.time_embedding = placeholder(str)  # sinusoidal, fourier; ddpm: none
    model.fourier_scale = placeholder(float)  # fourier: standard deviation of the frequencies
    model.dtype = placeholder(str)  # float32, bfloat16: of computation; parameters stay float32
    model.class_conditional = placeholder(bool)  # networks that can: read the labels of the data
    model.recentre = placeholder(bool)  # 2 x - 1 first, for data in [0, 1]: the ancestor's VE networks
    # What is computed again on the way back, to save memory: none, blocks, full
    model.rematerialization = placeholder(str)
    model.residual_block = placeholder(str)  # ncsnpp: ddpm, biggan
    model.fir = placeholder(bool)  # ncsnpp: resampling by a filter; False: nearest neighbours and means
    model.fir_kernel = placeholder(tuple)  # ncsnpp, song_unet: of that filter, in one dimension
    model.skip_rescale = placeholder(bool)  # ncsnpp: sums of two branches divided by sqrt(2)
    model.progressive_input = placeholder(str)  # ncsnpp, song_unet: none, input_skip, residual
    model.progressive_output = placeholder(str)  # ncsnpp, song_unet: none, output_skip, residual
    model.progressive_combine = placeholder(str)  # ncsnpp: sum, cat
    model.resample_with_convolution = placeholder(bool)  # ddpm, ncsnpp with blocks of ddpm, adm
    model.heads = placeholder(int)  # adm: of attention
    model.head_width = placeholder(int)  # adm, dhariwal_unet, edm2: channels a head, in place of heads
    model.attention_order = placeholder(str)  # adm: legacy (heads, then q, k, v), new (q, k, v, then heads)
    model.resample_in_blocks = placeholder(bool)  # adm: resampling residual blocks
    model.scale_shift_norm = placeholder(bool)  # adm: the time scales and shifts the second norm
    model.embedding_multiplier = placeholder(int)  # song_unet, dhariwal_unet, edm2: of the time, in widths
    model.noise_multiplier = placeholder(int)  # song_unet, edm2: of the noise level's first embedding
    model.label_dropout = placeholder(float)  # song_unet, dhariwal_unet: part of the labels left out
    model.augmentation_labels = placeholder(int)  # song_unet, dhariwal_unet: numbers that tell augmentations
    model.label_balance = placeholder(float)  # edm2: share of the class in the embedding
    model.concat_balance = placeholder(float)  # edm2: share of the way down in a concatenation
    model.residual_balance = placeholder(float)  # edm2: share of the residual branch
    model.attention_balance = placeholder(float)  # edm2: share of attention
    model.activation_clip = placeholder(float)  # edm2: largest activation
    model.noise_levels = placeholder(int)  # ncsn: that it tells apart, 10; as many as the process has
    model.form = placeholder(int)  # ncsnv2: made for images of side 64, 128, 256; None: as theirs is

    denoiser = config.denoiser = ConfigDict()  # how the network's output is read
    denoiser.parametrization = "eps"  # eps, x0, v, score (times sigma), unscaled_score, flow (eps - x0), edm
    # time (999 t), log_sigma (log(sigma/alpha)/4), unscaled_log_sigma (log(sigma/alpha)), index (of a level),
    # rescaled_index (as if there were 1,000 levels)
    denoiser.noise_input = "time"
    denoiser.sigma_data = 0.5  # edm, in the network and as a weighting, and heads: standard deviation of data
    # A second output for the reverse variance: none, fraction (between small and large, iDDPM), second_moment
    # (SN-DPM), residual (NPR-DPM), covariance (optimal covariance matching)
    denoiser.variance_head = "none"
    # Of the network's products of float32: default (TF32 on GPU, bfloat16 on TPU), high, highest (float32).
    # Whatever is not a network has the highest
    denoiser.precision = "default"
    # Learn the log of the loss at each noise level with the network, and train every level alike by it (EDM2)
    denoiser.uncertainty = False

    loss = config.loss = ConfigDict()
    weighting = loss.weighting = ConfigDict()
    weighting.name = "simple"  # simple, likelihood (g^2), log_snr, edm, min_snr, truncated_snr, p2, sigmoid
    weighting.gamma = placeholder(float)  # min_snr: 5; p2: exponent of 1 / (k + snr)^gamma, 1
    weighting.k = placeholder(float)  # p2: 1
    weighting.bias = placeholder(float)  # sigmoid: sigmoid(bias - log_snr), 2
    times = loss.time_sampling = ConfigDict()
    # uniform, importance (uniform in log-SNR, reweighted), log_normal (EDM), loss_history (iDDPM)
    times.name = "uniform"
    times.log_sigma_mean = placeholder(float)  # log_normal: of log(sigma / alpha), -1.2
    times.log_sigma_std = placeholder(float)  # log_normal: 1.2
    loss.low_discrepancy = False  # times spread evenly over the batch (VDM), for any time_sampling
    loss.time_grid = "continuous"  # continuous, discrete (noise_levels equally spaced times)
    loss.noise_levels = 1000  # of the discrete grid; intervals of loss_history
    # What is added up: noise (the squared error of the noise), bound (the terms of the discrete bound in
    # bits/dim: iDDPM's L_vlb; variance_head=fraction)
    loss.error = "noise"
    loss.reduction = "mean"  # mean over pixels, half_sum (half the sum, as Song et al. 2021)
    loss.variance_weight = 0.0  # of the loss of denoiser.variance_head; 0.001 in iDDPM's hybrid loss, else 1
    # residual, covariance: errors in units of Gaussian data's; False: as published
    loss.variance_relative = True

    optim = config.optim = ConfigDict()
    optim.name = "adam"  # adam, adamw, muon
    optim.learning_rate = 2e-4  # the largest one
    optim.warmup = 1000  # steps in which it rises from 0; EDM's 10 million images at batch 512: 19531
    # Its course: constant; cosine, linear (from the end of the warm-up to 0 at training.steps); inverse_sqrt
    # (falls as 1 / sqrt(step) from optim.decay_steps on, EDM2)
    optim.schedule = "constant"
    optim.decay_steps = placeholder(int)  # inverse_sqrt: the last step at the full rate
    optim.beta1 = 0.9  # muon: of Adam, which updates what is no matrix
    optim.beta2 = 0.999
    optim.epsilon = 1e-8  # added to the root of Adam's second moment
    optim.momentum = placeholder(float)  # muon: 0.95
    optim.weight_decay = 0.0  # adamw, muon
    optim.grad_clip = 1.0  # largest global norm of the gradient; 0: no clipping

    # Averages of the parameters, in float32. The first of decays, half-life, powers is the one evaluated
    config.ema = ConfigDict()
    config.ema.decays = (0.9999,)  # one average for each
    # decays: use min(decay, (1 + step)/(10 + step)), so that short runs forget the start
    config.ema.ramp = True
    config.ema.half_life_images = placeholder(float)  # one more average, half of which is so many images old
    # half_life_images: at most this part of the images so far (EDM); 0: no ramp
    config.ema.half_life_ramp = 0.05
    config.ema.power_stds = ()  # one more average for each: sigma_rel of a power function (EDM2), (0.05, 0.1)
    config.ema.snapshot_every = 0  # steps between snapshots of the power functions, for --mode=ema; 0: none
    config.ema.reconstruct_std = placeholder(float)  # --mode=ema: sigma_rel of the average that is made
    config.ema.reconstruct_step = placeholder(int)  # the same: its step, that of a snapshot; None: the last

    training = config.training = ConfigDict()
    training.steps = 100_000
    training.batch_size = 128  # over all devices together
    # Parts of a batch of which one is differentiated at a time: less memory, the same parameters to rounding
    training.accumulation = 1
    training.jitted_steps = 1  # optimizer steps in one call of the compiled function
    training.log_every = 100  # every frequency must be a multiple of jitted_steps
    training.eval_every = 5_000  # held-out loss; 0: never
    training.sample_every = 0  # a grid of samples while training; 0: never
    training.sample_quality_every = 0  # metrics of eval.sample_quality, of few samples; 0: never
    training.sample_quality_samples = 1_000  # how few
    # Records go to this project of Weights & Biases, too (requirements/wandb.txt); None: they do not
    training.wandb_project = placeholder(str)
    training.network_from = placeholder(str)  # workdir of a trained network: the head alone is trained
    # pmap: whole parameters on each device; mesh: one program over all, which can split them
    training.parallel = "pmap"
    training.fsdp = 1  # mesh: devices over which parameters, optimizer state and averages are split
    # mesh: how arrays are split, as pairs (regular expression, tactic), the first that is found in its path:
    # replicated; fsdp, by its largest dimension; fsdp:2, by a dimension of that number; of no pair: fsdp
    training.sharding = ()

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 5_000  # steps; the last step is always saved
    config.checkpoint.keep = 2  # the latest ones
    config.checkpoint.keep_every = 0  # keep these multiples for ever; 0: none
    config.checkpoint.keep_best = 0  # keep so many with the smallest held-out loss; 0: none

    config.restore = ConfigDict()  # what sampling, evaluation and measurements take from the workdir
    config.restore.step = placeholder(int)  # of the checkpoint; None: the newest
    # One of ema.decays, ema.half_life_images, ema.power_stds; None: the first
    config.restore.average = placeholder(float)
    config.restore.file = placeholder(str)  # an average that --mode=ema wrote, in place of the checkpoint's

    # How samples are drawn; docs/samplers.md says when to use what
    sampling = config.sampling = ConfigDict()
    sampling.steps = 50  # steps from t_max to sampling_t_min; dpm_solver_fast: network calls
    sampling.nfe = placeholder(int)  # in place of steps: as many as fit into this number of network calls
    sampling.num_samples = 64
    sampling.batch_size = 256  # over all devices together
    sampling.png = False  # --mode=sample also writes a PNG of each, into the folder samples/
    sampling.final_denoise = True  # one last call that returns E[x_0 | x]
    # Classes of the samples where the network reads labels: one, or a list that is repeated; None: drawn by
    # their frequencies in the training data
    sampling.labels = placeholder(tuple)
    sampling.temperature = 1.0  # divides the score; below 1: sharper samples; for solvers with noise
    # A sampler whose samples have more than so many times the data's variance, by the exact moments of one
    # Gaussian, is refused; None: never
    sampling.largest_bias = placeholder(float)
    sampling.largest_bias = 2.0

    predictor = sampling.predictor = ConfigDict()  # the solver; classes in samplers/solvers/
    # adams, ddim, edm, dpm_solver, dpm_solver_fast, dpm_solver++, dpm_solver++_single, sde_dpm_solver++,
    # unipc, pndm, deis, sa_solver, restart, fitted; reverse_diffusion, ancestral, euler_maruyama,
    # stochastic_heun, none; adaptive_sde, ode; legacy_reverse_diffusion, legacy_ancestral,
    # legacy_euler_maruyama. default: adams, of an order and on a grid that suit the number of
    # calls and the shape of the data
    predictor.name = "default"
    predictor.order = placeholder(int)  # dpm_solver*, unipc, pndm, deis, sa_solver, adams, edm
    predictor.corrector_order = placeholder(int)  # sa_solver, adams: 0 for none
    predictor.start = placeholder(str)  # multistep: lower_order, single_step; pndm: lower_order, runge_kutta
    predictor.probability_flow = placeholder(
        bool
    )  # reverse_diffusion, ancestral, euler_maruyama, legacy ones
    predictor.eta = placeholder(float)  # ddim: 0 (deterministic) to 1 (ancestral)
    predictor.churn = placeholder(float)  # edm: S_churn, and S_min, S_max, S_noise in sigma / alpha
    predictor.churn_min = placeholder(float)
    predictor.churn_max = placeholder(float)
    predictor.churn_noise = placeholder(float)
    predictor.published = placeholder(bool)  # dpm_solver++, sde_dpm_solver++: the paper's code to the letter
    predictor.variant = placeholder(str)  # unipc: bh1, bh2
    predictor.unic = placeholder(bool)  # unipc: with its corrector
    predictor.variable = placeholder(str)  # deis: t (tAB), r (rhoAB), log_snr; adams: also measure, vp_time
    predictor.prediction = placeholder(str)  # adams: x0, eps, f
    predictor.data_std = placeholder(float)  # adams: standard deviation s in F
    predictor.file = placeholder(str)  # fitted: what --mode=calibrate wrote
    predictor.tau = placeholder(float)  # sa_solver: 0 (probability flow) to 1 (reverse SDE) and beyond
    predictor.tau_min = placeholder(float)  # sa_solver: the sigma / alpha between which tau holds
    predictor.tau_max = placeholder(float)
    predictor.restart_min = placeholder(float)  # restart: the interval in sigma / alpha
    predictor.restart_max = placeholder(float)
    predictor.restarts = placeholder(int)
    predictor.restart_steps = placeholder(int)
    # legacy ones: the released code indexes its table of beta by int(t (N - 1) / T): truncated reproduces
    # that rounding, intended uses the row of the step
    predictor.rows = placeholder(str)
    predictor.absolute_tolerance = placeholder(float)  # adaptive_sde
    predictor.relative_tolerance = placeholder(float)  # adaptive_sde
    predictor.redraw = placeholder(bool)  # adaptive_sde: fresh noise after a rejected step, as published
    predictor.method = placeholder(str)  # ode: dopri5, tsit5, dopri8, heun
    predictor.tolerance = placeholder(float)  # ode: relative and absolute

    grid = sampling.grid = ConfigDict()  # times of the steps; classes in samplers/time_grids.py
    # vp_time, uniform, quadratic, cubic (in t), log_snr, rho (EDM), explicit, fitted, optimal; of a discrete
    # process's levels: even, leading, leading_quadratic
    grid.name = placeholder(str)  # None: the predictor's default
    grid.rho = placeholder(float)  # rho: (sigma / alpha)^(1/rho) is spaced evenly; 7
    grid.power = placeholder(float)  # vp_time: its root that is spaced evenly; 3
    # vp_time: with few calls, stop at a larger noise level and let the final denoising step cover the rest
    grid.toward_zero = placeholder(bool)
    grid.end = placeholder(float)  # log_snr, rho: sigma / alpha of the last time; 0: at sampling_t_min
    grid.times = placeholder(tuple)  # explicit: decreasing times
    grid.file = placeholder(str)  # fitted: what --mode=calibrate wrote; optimal: --mode=optimal_grid

    corrector = sampling.corrector = ConfigDict()  # moves at a given noise level; samplers/correctors.py
    # none, langevin, annealed_langevin, legacy_langevin, legacy_annealed_langevin
    corrector.name = "none"
    corrector.steps = placeholder(int)  # at each noise level, one network call each; 1
    corrector.snr = placeholder(float)  # signal-to-noise ratio r; 0.16
    corrector.norm = placeholder(str)  # langevin: norms of each sample, or batch: their mean over the batch

    threshold = sampling.threshold = ConfigDict()  # of predictions of x_0; denoisers/thresholds.py
    threshold.name = "none"  # none, data_range (clip), static, dynamic
    threshold.value = placeholder(float)  # static: |x_0| is clipped to it
    threshold.quantile = placeholder(float)  # dynamic: 0.995

    variance = sampling.variance = ConfigDict()  # of a reverse step; classes in denoisers/variance.py
    # small (the solver's), large, learned; or optimal, by an estimate of the variance of x_0 given x_t:
    # heuristic, analytic, analytic_residual (--mode=variance), jacobian, predicted (a head's, a mixture's)
    variance.name = "small"
    variance.file = placeholder(str)  # analytic, analytic_residual: what --mode=variance wrote
    variance.probes = placeholder(int)  # jacobian: random signs, 8; 0: all unit vectors, exact
    variance.average = placeholder(bool)  # optimal ones: one variance for all dimensions of a state
    variance.pixels = placeholder(float)  # most noise of the last noisy step, in 1/255 of the data's range

    evaluation = config.eval = ConfigDict()  # --mode=eval
    # What is measured: loss, two_sample, bits_per_dim, discrete_bound, continuous_bound, diagnostics,
    # sample_quality; one file each in evaluation/
    evaluation.evaluators = ("loss", "two_sample", "bits_per_dim")
    # Evaluate every checkpoint of a run while it trains, as they come, until training.steps
    evaluation.follow = False
    evaluation.batch_size = 256  # over all devices together
    evaluation.max_images = 10_000  # of the held-out split
    evaluation.loss_levels = 20  # noise levels of loss and diagnostics

    # What samples and reference are compared by; classes in metrics/features/
    features = evaluation.features = ConfigDict()
    features.name = "inception"  # inception, dinov2, pixels, principal_components, function
    # inception: file; None: what `make fid` installs; dinov2: folder of a network of `transformers`
    features.weights = placeholder(str)
    features.resize = placeholder(str)  # inception: tf1, pytorch_fid, clean_fid, none
    features.layer = placeholder(int)  # inception: the tap, by its channels: 2048 (FID's), 768, 192, 64
    features.spatial = placeholder(bool)  # inception: sFID's features, too
    features.dimensions = placeholder(int)  # principal_components: 64
    features.function = placeholder(str)  # function: "package.module:function"
    reference = evaluation.reference = ConfigDict()  # what samples are compared with
    reference.split = "train"  # of the data: train, test
    reference.file = placeholder(str)  # .npz with mu and sigma in its place: of TTUR, EDM, or one of `folder`
    reference.folder = "reference_statistics"  # where features of a split are kept
    # Images of the split, the first of a fixed shuffle; None: all. Of `file`: how many its moments are of
    reference.images = placeholder(int)

    flow = evaluation.bits_per_dim = ConfigDict()  # likelihood by the probability-flow ODE
    flow.split = "test"  # test, train: of the data
    flow.dequantizations = 1  # draws of dequantization noise an image; 5 in Song et al. 2021
    flow.solver = "dopri5"  # dopri5, tsit5, dopri8, heun
    flow.tolerance = 1e-5  # relative and absolute, of the ODE solver
    flow.probe = "rademacher"  # of the divergence: rademacher, gaussian, exact (small dimension)
    flow.probes = 1  # a solve; with 2 or more their part of the standard error is known

    # Variational bounds: discrete_bound, of the chain of ancestral steps on `levels` noise levels, which
    # --mode=optimal_grid measures too; continuous_bound, in continuous time, estimated at as many
    bound = evaluation.bound = ConfigDict()
    bound.levels = 1000  # network calls an image, for either
    # discrete: uniform (DDPM's), log_snr, sampling (the sampler's levels; `levels` has no part)
    bound.grid = "uniform"
    bound.decoder = placeholder(str)  # pixels, density; None: density if data.dequantize
    bound.clip = True  # discrete, of pixels: clip predictions of x_0 to the data's range
    bound.images = 1_000  # images for either
    bound.variance = ConfigDict()  # discrete: of its steps, as sampling.variance
    bound.variance.name = "small"
    bound.variance.file = placeholder(str)
    bound.variance.probes = placeholder(int)
    bound.variance.average = placeholder(bool)

    two_sample = evaluation.two_sample = ConfigDict()  # samples against held-out data
    two_sample.num_samples = 1_000
    two_sample.neighbours = 3  # k of precision and recall

    diagnostics = evaluation.diagnostics = ConfigDict()  # is the score a score?
    diagnostics.images = 64

    quality = evaluation.sample_quality = ConfigDict()  # FID and its kin, of samples by number
    quality.num_samples = 50_000
    quality.metrics = ("fid",)  # names of METRICS in metrics/
    # Every combination of these is measured. Steps of checkpoints and averages as in `restore`, whose choice
    # () takes; roots of the samples' draws, () for `seed`; changes of `sampling`, () for it as it stands:
    # "predictor=edm steps=18, predictor=ddim steps=50"
    quality.steps = ()
    quality.averages = ()
    quality.seeds = ()
    quality.samplers = ()
    quality.pictures = 64  # samples in the picture of each combination; 0: no picture
    quality.keep_images = False  # also keep all samples, as .npz files beside the results
    # Keep features, for which other metrics then draw no samples; of 50,000 samples Inception's take 410 MB
    quality.keep_features = True

    table = config.table = ConfigDict()  # --mode=table: published tables, docs/papers.md
    table.samples = placeholder(int)  # of each set; None: as published, 256 at a small scale
    table.seeds = placeholder(int)  # sets of samples; None: as published, 2 at a small scale
    table.images = placeholder(int)  # of likelihoods; None: as the experiment has it, 128 at a small scale
    # Of a row for which the paper takes the best of several: last; kept (all that the run has kept)
    table.checkpoints = "last"
    # Whether a run of another data.source may stand for a row: where the same images lie elsewhere.
    table.other_data = False
    table.batch_size = placeholder(int)  # of samples; None: as the experiment has it
    table.measure = True  # False: prints which runs are there and what the others would cost
    table.costs = True  # estimate hours of what is missing, for which large networks are traced
    table.steps = 1_000  # of each training at a small scale
    table.width = 16  # model.width at a small scale

    calibration = config.calibration = ConfigDict()  # --mode=calibrate
    calibration.nfe = (5, 8, 10)  # network calls of the solvers that are fitted, 3 to 30
    calibration.noises = 512  # from which fine solutions are followed; as many again are held out
    calibration.fine_steps = 200  # of the fine solutions
    calibration.starts = 2  # general-purpose solvers from which each fit starts, the best ones first
    calibration.batch_size = 128  # noises whose derivatives are taken together
    calibration.pictures = 16  # samples shown side by side

    config.variance = ConfigDict()  # --mode=variance
    config.variance.levels = 200  # noise levels, equally spaced in log-SNR
    config.variance.examples = 10_000  # of the training data, one noise for each example and level
    config.variance.batch_size = 256  # over all devices together

    optimal_grid = config.optimal_grid = ConfigDict()  # --mode=optimal_grid: of the bound in eval.bound
    optimal_grid.levels = 200  # noise levels; all pairs of them are measured
    optimal_grid.spacing = "uniform"  # of these levels: uniform (in t), log_snr
    optimal_grid.examples = 1_000  # of the training data
    optimal_grid.batch_size = 256  # over all devices together
    optimal_grid.steps = (5, 10, 25, 50, 100)  # shown in the figure; the file serves any number

    plan = config.plan = ConfigDict()  # --mode=plan: what a training costs; docs/plans.md
    plan.topology = "local"  # local: the devices at hand; v4, v5e, v5p, v6e with a slice: v5e:4x4, v5p:2x2x1
    plan.compilations = 4  # of training steps, until the largest batch that fits is given up; 1: one step
    plan.sampler = True  # also of the sampler
    plan.sweep = ()  # numbers of chips on which a step is estimated, each with the same share of the batch

    config.profile = ConfigDict()  # --mode=profile: where the time of a training step goes
    config.profile.steps = 5  # that are measured

    config.export = ConfigDict()  # --mode=export
    config.export.format = "safetensors"  # safetensors (all averages and the config), diffusers

    encoding = config.encoding = ConfigDict()  # --mode=encode
    encoding.num_images = 8
    encoding.interpolations = 7  # images between two
    encoding.solver = "dopri5"  # dopri5, tsit5, dopri8, heun
    encoding.tolerance = 1e-6  # relative and absolute, of the ODE solver
    encoding.batch_size = 256  # over all devices together
    encoding.temperatures = (0.2, 0.6, 0.8, 0.9, 1.0, 1.1)
    return config.lock()
