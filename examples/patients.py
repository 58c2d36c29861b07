"""Loads breast-cancer data of 569 patients, 30 measures each (Wolberg, Mangasarian, Street 1995; in scikit-learn)."""

from dataclasses import dataclass

LABEL = "diagnosis"
HELD_OUT = 0.3


@dataclass(frozen=True, slots=True)
class Split:
    """Patients to train on and patients to predict, as plain JSON values."""

    columns: list[str]
    train_rows: list[list[float]]
    train_labels: list[str]
    test_rows: list[list[float]]
    test_labels: list[str]


def load(seed: int) -> Split:
    """A stratified split of 70 and 30 percent that is the same for the same seed."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    names = [str(data.target_names[code]) for code in data.target]
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        data.data.tolist(), names, test_size=HELD_OUT, random_state=seed, stratify=names
    )
    columns = [str(name).replace(" ", "_") for name in data.feature_names]
    return Split(columns, train_rows, train_labels, test_rows, test_labels)
