"""The engine of release 0.1.0 (schema 0010), and how its hosts write agents, frozen.

Copied from `seedcore/tasks`, `seedcore/organism` and `seedcore/energy/rates.py` as they were at commit 12ba1e5; only
commands, reads and schedules are left out. The tests beside it run this release and today's together on one database
while it is migrated. Never fix it: what is released is released. A copy of the next release's engine takes its place
when that release has a newer schema.
"""
