"""What the command line knows about a mode before it imports it."""

from typing import NamedTuple


class Mode(NamedTuple):
    """A row of MODES.

    Attributes:
      module: whose `run(config, workdir, ...)` does it, and whose `refusals(config)` refuse its settings.
      reads: subtrees of the config, beside those that make the model, that can stop it; None where the data's
        subtree alone can.
      flags: flags of its own, beside --config and --workdir.
      needs: "config", "workdir", "from", "runs" (a folder of runs, and no config), "files" (those of a
        workdir as they lie there, and no config), and "data" for a data set rather than a mixture. Where
        "workdir" stands without "config" and "files", the run's own config stands in for a --config left out;
        where "from" stands, the one that the module's `config_for(path)` finds for that file; its
        `check_file(config, workdir, path)` refuses what the mode would of it. A module's
        `require_files(config, workdir, record)` raises UserError for what the mode would refuse of other
        files, given the record of the run's checkpoint; what is not there yet is None. A module that does
        without the data set has `learn(config)`, which fills in what the mode takes of it.
      summary: one line for --help.
      after_a_stop: what the same command does after a signal or a kill.
      shared: whether several processes share its work, by --coordinator.
      stores: whether --workdir and --output may lie on an object store.
    """

    module: str
    reads: tuple[str, ...] | None
    flags: tuple[str, ...]
    needs: tuple[str, ...]
    summary: str
    after_a_stop: str = "begins anew"
    shared: bool = False
    stores: bool = True
