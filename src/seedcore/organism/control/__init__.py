"""The control loop: one replica leads, compares what is desired with what runs, and repairs the difference."""
