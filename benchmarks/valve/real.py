"""Real series with a known change, and text. A series that is shorter than a reference is watched by what came before.

Nile: 100 years are fewer than the 500 that the valve wants, so its reference is resampled from the years before 1898.
"""

import numpy as np

from seedcore.changepoint import Valve
from seedcore.changepoint.features import task_features

CAUSES = ("timeout", "refused", "reset", "unreachable")
BEFORE = ("host", "request", "answer", "gateway", "retry", "upstream", "proxy", "queue", "worker", "socket")
AFTER = ("disk", "volume", "inode", "quota", "mount", "sector", "journal", "raid", "block", "snapshot")


def nile() -> list[str]:
    """The dam at Aswan: flow fell in 1898."""
    from statsmodels.datasets import nile as series

    flow = series.load_pandas().data["volume"].to_numpy(dtype=float)
    years = np.arange(1871, 1871 + len(flow))
    clean = flow[years < 1898]
    reference = np.random.default_rng(0).choice(clean, 500)
    alarms = Valve.calibrate(reference, arl0=1_000, rehearsal=False).update(flow)
    first = years[alarms][0] if alarms.any() else None
    return ["Nile, 1871 to 1970: fell in 1898", f"first alarm {first}", f"{int(alarms[years < 1898].sum())} before"]


def digits() -> list[str]:
    """Handwritten digits (scikit-learn): ones to fives, then nothing but eights."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    low, eights = images[labels < 6], images[labels == 8]
    low, eights = low[rng.permutation(len(low))], eights[rng.permutation(len(eights))]
    valve = Valve.calibrate(low[:800], rehearsal=False)
    before = valve.update(low[800:])
    return ["Digits, 64 pixels: 0 to 5, then eights", _after(valve.update(eights)), f"{int(before.sum())} before"]


def tumours() -> list[str]:
    """Breast cancer (scikit-learn), 30 measures: benign, then malignant; the benign are resampled."""
    from sklearn.datasets import load_breast_cancer

    rows, labels = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    benign, malignant = rows[labels == 1], rows[labels == 0]
    valve = Valve.calibrate(rng.choice(benign, 1_000), rehearsal=False)
    before = valve.update(rng.choice(benign, 1_000))
    return [
        "Tumours, 30 measures: benign, then malignant",
        _after(valve.update(malignant)),
        f"{int(before.sum())} before",
    ]


def messages(rng: np.random.Generator, words: tuple[str, ...], count: int) -> list[str]:
    """Messages of one shape with words of one vocabulary."""
    return [
        f"Error in {rng.choice(words)} {rng.choice(words)}: {rng.choice(CAUSES)} after {rng.integers(1, 99)} tries, "
        f"see {rng.choice(words)} {rng.choice(words)} log for the {rng.choice(words)}"
        for _ in range(count)
    ]


def text(runs: int = 20) -> list[str]:
    """A changed vocabulary in messages of the same shape."""
    delays, alarms = [], 0
    for k in range(runs):
        rng = np.random.default_rng(k)
        rows = [task_features("log.read", {"message": m}) for m in messages(rng, BEFORE, 1_000)]
        valve = Valve.calibrate(rows[:500], seed=k, rehearsal=False)
        alarms += int(valve.update(rows[500:]).sum())
        changed = valve.update([task_features("log.read", {"message": m}) for m in messages(rng, AFTER, 200)])
        delays.append(int(changed.argmax()) + 1 if changed.any() else 200)
    return [
        "Text, same messages with other words",
        f"after {np.mean(delays):.1f} (at most {max(delays)})",
        f"{alarms} before",
    ]


def _after(alarms: np.ndarray) -> str:
    return f"after {int(alarms.argmax()) + 1}" if alarms.any() else "not seen"


def table() -> list[list[str]]:
    """A row a series: what happened, when it was seen, false alarms before."""
    return [nile(), digits(), tumours(), text()]
