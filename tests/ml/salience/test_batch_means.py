import numpy as np
import pytest

from seedcore.ml.salience.batch_means import gain


def test_a_clear_gain_is_found_and_its_bound_lies_below_it():
    rng = np.random.default_rng(0)
    losses = rng.random(1_000)
    found = gain(losses, losses * 0.5)
    assert 0.0 < found.low < found.mean < 0.3


def test_equal_losses_are_no_gain():
    losses = np.random.default_rng(1).random(200)
    assert gain(losses, losses).low == 0.0
    assert gain(losses, losses + 0.1).low < 0.0


def test_among_equals_that_depend_on_each_other_in_time_few_seem_better():
    rng = np.random.default_rng(2)
    wins = 0
    for _ in range(400):
        noise = rng.standard_normal(2_000)
        for n in range(1, 2_000):
            noise[n] += 0.8 * noise[n - 1]
        wins += gain(noise, np.zeros(2_000)).low > 0.0
    # 5 % of 400 are 20; with this dependence some more are expected, of single rows it would be 140.
    assert wins < 45


def test_fewer_rows_than_blocks_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        gain(np.zeros(19), np.zeros(19))
