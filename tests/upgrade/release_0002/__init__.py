"""How hosts of the release whose schema is 0002 write agents, frozen.

They know no life cycle of agents, which release 0.1.0 does. Never fix it: what is released is released.
"""
