"""Published families of solvers, one a file; the table SOLVERS holds them all.

A new solver is one class in a file of its own, and one line here.
"""

from samplers.solvers import (
    adams,
    adaptive,
    ddim,
    deis,
    dpm_solver,
    dpm_solver_plus_plus,
    edm,
    fitted,
    legacy,
    ode,
    pndm,
    predictors,
    restart,
    sa_solver,
    unipc,
)

SOLVERS = {
    "reverse_diffusion": predictors.ReverseDiffusion,
    "ancestral": predictors.Ancestral,
    "euler_maruyama": predictors.EulerMaruyama,
    "stochastic_heun": predictors.StochasticHeun,
    "none": predictors.NoPredictor,
    "ddim": ddim.DDIM,
    "edm": edm.EDM,
    "dpm_solver": dpm_solver.DPMSolver,
    "dpm_solver_fast": dpm_solver.DPMSolverFast,
    "dpm_solver++": dpm_solver_plus_plus.Multistep,
    "dpm_solver++_single": dpm_solver_plus_plus.SingleStep,
    "sde_dpm_solver++": dpm_solver_plus_plus.Stochastic,
    "unipc": unipc.UniPC,
    "pndm": pndm.PNDM,
    "deis": deis.DEIS,
    "sa_solver": sa_solver.SASolver,
    "adams": adams.Adams,
    "restart": restart.Restart,
    "fitted": fitted.Fitted,
    "legacy_euler_maruyama": legacy.EulerMaruyama,
    "legacy_reverse_diffusion": legacy.ReverseDiffusion,
    "legacy_ancestral": legacy.Ancestral,
    "adaptive_sde": adaptive.AdaptiveSDE,
    "ode": ode.AdaptiveODE,
}
