"""Energy: the potential of the fleet, and routing by its smallest change."""
