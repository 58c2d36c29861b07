"""Wilson's score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22)."""

Z = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution."""


def wilson(successes: float, trials: float, z: float = Z) -> tuple[float, float]:
    """(low, high) of the chance of success, with 95 % confidence by default; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share, square = min(max(successes / trials, 0.0), 1.0), z * z
    middle = share + square / (2 * trials)
    width = z * (share * (1 - share) / trials + square / (4 * trials * trials)) ** 0.5
    whole = 1 + square / trials
    return max(0.0, (middle - width) / whole), min(1.0, (middle + width) / whole)
