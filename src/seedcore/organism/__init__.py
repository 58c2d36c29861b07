"""The Organism: organs, hosts and the agents that live on them."""
