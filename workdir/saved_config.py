"""The config of a run, as it lies in its workdir."""

import reprlib
import time

from ml_collections import ConfigDict

from components import ConfigError
from workdir import storage, strict_json
from workdir.unread import unread

POLL_SECONDS = 2.0
# The file that makes a workdir that of a classifier: see workdir/classifier_file.py.
CLASSIFIER = "classifier.npz"


def leaves(config, prefix=""):
    """(dotted path, value) of every field of a ConfigDict that is no subtree."""
    for name in config:
        value = config[name]
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_config(workdir, schema, upgraded=dict):
    """The config with which the run in a workdir was trained.

    JSON knows neither tuples nor the types of fields that are None: both come from the schema.

    Args:
      schema: configs.base.get_config(), whose values are replaced.
      upgraded: {dotted path: value} of an older version -> the same of this one: configs.renamed.upgraded.

    Raises:
      ConfigError: no config.json, an unreadable one, one with fields that there are none of now, or a
        classifier in the place of a run.
    """
    folder = storage.path(workdir)
    path = folder / "config.json"
    refuse_classifier(workdir)
    try:
        found = strict_json.loads(storage.read_text(path))
        if not isinstance(found, dict) or "config" not in found:
            raise ValueError('its entry "config" is missing')
        saved = ConfigDict(found["config"])
    except FileNotFoundError:
        raise ConfigError(
            f"There is no run in {folder}: no {path} from which its config could be taken. Name the "
            "workdir of a trained network, or give a config: --config=configs/digits.py."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read ({_first_line(error)}). Give the run's --config."
        ) from error
    known = dict(leaves(schema))
    for name, value in upgraded(dict(leaves(saved))).items():
        # None says nothing, also of a field that is gone, unless the schema's default is another.
        if value is not None or known.get(name) is not None:
            if name not in known:
                short = ascii(name[:80])[1:-1]
                raise ConfigError(
                    f"{path} has the field {short}, which there is none of now. Give a --config."
                )
            value = tuple(value) if isinstance(value, list | tuple) else value
            try:
                schema.update_from_flattened_dict({name: value})
            except (TypeError, ValueError, KeyError, AttributeError):
                raise ConfigError(
                    f"{path} has {name}={reprlib.repr(value)}, not of the field's type. Give a --config."
                ) from None
    # Older versions wrote their defaults down; read or not, these may be refused now.
    schema.update_from_flattened_dict({field: known[field] for field in unread(schema)})
    return schema


def wait_for_config(workdir):
    """Returns once a training run has written the config of a workdir.

    Raises:
      ConfigError: the workdir holds a classifier.
    """
    refuse_classifier(workdir)
    path = storage.path(workdir) / "config.json"
    if path.exists():
        return
    # The command line reads configs before it imports what takes seconds.
    from workdir.records import Waiting

    waiting = Waiting(f"{path}, which a training run writes")
    while not path.exists():
        waiting()
        time.sleep(POLL_SECONDS)


def refuse_classifier(workdir):
    """Raises ConfigError where a workdir holds a classifier, which no mode takes for a run."""
    if workdir and (storage.path(workdir) / CLASSIFIER).is_file():
        raise ConfigError(
            f"{workdir} holds a classifier of noisy images ({CLASSIFIER}), which guides the samples of "
            "another network and has none of its own: give the workdir of a run. From Python, "
            "experiment.load_classifier reads it."
        )


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
