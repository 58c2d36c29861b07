"""What a claimant remembers from claim to claim: how far it has come, whose turn it is, and what has waited long."""
