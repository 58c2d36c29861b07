"""The engine of the release whose schema is 0001, frozen: its statements, and what calls them.

Copied from `seedcore/tasks` as they were when 0001 was the newest revision; plans, control, reading and retention are
left out. The tests beside it let this engine and today's work on one database while it is migrated. Never mend it: what
is released is released. When a release with a newer schema is made, a copy of that release's engine takes its place.
"""
