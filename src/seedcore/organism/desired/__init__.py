"""The desired state: organs, hosts and evolutions, by version."""
