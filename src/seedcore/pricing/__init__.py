"""The potential of the fleet, learned rates, and routers that take the smallest change of it. Pure."""
