"""The engine of the release whose schema is 0002, and how its hosts write agents, frozen.

Copied from `seedcore/tasks` and `seedcore/organism/store.py` as they were when 0002 was the newest revision of phase
`before`; control, reading and schedules are left out. The tests beside it let this release and today's work on one
database while it is migrated. Never mend it: what is released is released. When a release with a newer schema is made,
a copy of that release's engine takes its place.
"""
