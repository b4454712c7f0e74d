"""Memory that runs out ends in one line, wherever it does."""

import jax
import numpy as np
import pytest

import main
from components import UserError
from parallel import memory


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), []),
        (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("float64")), ["8.00 TiB"]),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."),
            ["8 GiB"],
        ),
    ],
)
def test_what_ran_out_is_one_line_with_the_fields(error, words):
    @memory.guarded("measuring", "eval.batch_size", "eval.max_images")
    def measure():
        raise error

    with pytest.raises(UserError) as caught:
        measure()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for word in ["measuring", "eval.batch_size", "eval.max_images", *words]:
        assert word in line


def test_other_errors_pass():
    for error in (ValueError("x"), jax.errors.JaxRuntimeError("INTERNAL: something else")):
        with pytest.raises(type(error)), memory.guarded("measuring", "eval.batch_size"):
            raise error


def test_the_largest_size_that_fits_is_not_refused():
    line, *_ = memory.too_large("a thing", 3 * memory.GIB, 2 * memory.GIB, sampling__batch_size=7)
    assert "sampling.batch_size=7" in line and "3 GiB" in line and "2 GiB" in line
    assert not list(memory.too_large("a thing", memory.GIB, memory.GIB, sampling__batch_size=7))


RING = ["main.py", "--config=configs/gaussian_mixture.py:ring"]


def test_a_mode_in_which_memory_runs_out_says_what_makes_it_smaller(tmp_path, monkeypatch, capsys):
    from modes import variance

    def exhausted(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")

    monkeypatch.setattr(variance, "training_examples", exhausted)
    assert main.main([*RING, f"--workdir={tmp_path}", "--mode=variance"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: Out of memory") and "16 GiB" in error and "variance.batch_size" in error


def test_memory_of_the_host_that_runs_out_for_real_is_one_line():
    with pytest.raises(UserError, match="holding the samples.*sampling.num_samples"):
        with memory.guarded("holding the samples", "sampling.num_samples"):
            np.empty(2**55)
