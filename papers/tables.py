"""All published tables by name, `paper/table`."""

from components import ConfigError, closest
from papers import (
    analytic_dpm,
    ddim,
    dpm_solver,
    dpm_solver_v3,
    edm,
    edm2,
    extended_analytic_dpm,
    ho2020,
    improved_diffusion,
    song2021,
    unipc,
)

PAPERS = {
    "song2021": song2021,
    "ho2020": ho2020,
    "ddim": ddim,
    "improved_diffusion": improved_diffusion,
    "analytic_dpm": analytic_dpm,
    "extended_analytic_dpm": extended_analytic_dpm,
    "edm": edm,
    "edm2": edm2,
    "dpm_solver": dpm_solver,
    "dpm_solver_v3": dpm_solver_v3,
    "unipc": unipc,
}
TABLES = {
    f"{paper}/{name}": table for paper, module in PAPERS.items() for name, table in module.TABLES.items()
}


def choose(name):
    """The Table of that name.

    Raises:
      ConfigError: there is none; the line lists all.
    """
    if name not in TABLES:
        known = ", ".join(TABLES)
        raise ConfigError(f'--table="{name}" is no table.{closest(name, TABLES)} Known: {known}.')
    return TABLES[name]


def listing():
    """A line for each table: its name, title and source."""
    width = max(map(len, TABLES))
    return "\n".join(f"{name.ljust(width)}  {table.title} ({table.source})" for name, table in TABLES.items())
