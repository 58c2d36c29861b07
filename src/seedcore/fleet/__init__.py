"""What the services share about the fleet: agents, hosts, organ files, stream monitors, the energy ledger."""
