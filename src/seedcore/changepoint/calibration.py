"""What a valve was calibrated on, and the false-alarm rate it promises."""

from dataclasses import dataclass

from seedcore.changepoint.arl_simulation import RunLengthSimulation


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a valve was calibrated on, and what it promises.

    Attributes:
        reference: observations in the reference.
        columns: columns of an observation.
        arl0: mean observations between false alarms, as requested.
        rehearsal: alarms seen in resampled streams; None: no simulation was requested.
    """

    reference: int
    columns: int
    arl0: float
    rehearsal: RunLengthSimulation | None
