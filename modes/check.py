"""--mode=check: the config as it will be used, and everything that would be refused."""

import data
import experiment
from components import ConfigError, UserError
from experiment.checks import problems


def run(config, workdir):
    """--mode=check: prints the config as it will be used, and everything that would be refused."""
    found = problems(config)
    try:
        if not config.mixture.name:
            data.resolve(config.data, data.create(config.data, "train"))
            data.create(config.data, "test")
            found = problems(config)
    except UserError as error:
        found.append(str(error))
    if not found:
        experiment.resolve(config)
    print(config)
    for line in found:
        print(f"refused: {line}")
    print(f"{len(found)} problems" if found else "ok: nothing would be refused")
    if found:
        raise SystemExit(ConfigError.exit_code)
