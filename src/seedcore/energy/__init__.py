"""The Energy service: prices states of the fleet, and measures how true the prices are."""
