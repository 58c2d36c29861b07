"""Every advisory lock that SeedCore takes in PostgreSQL, in one list.

A lock is one 64-bit id, or a class with a 32-bit key. The SQL of migrations repeats some of these numbers and cannot
change; `tests/stores/test_advisory_locks.py` holds it against this list.
"""

MIGRATION = 0x5EEDC04E
"""Id of the lock of those who migrate: a second bootstrap waits, then finds nothing to do."""

IDLE_LANE = 24301
"""Class, shared, of dispatchers that wait for tasks; the key is `hashtext` of a lane. `seedcore.wake` looks for it."""

EVENT_FOLLOWERS = 24302
"""Class, shared, of those who follow events; the key is `hashtext('events')`. `seedcore.tell` looks for it."""

SCHEDULES_AND_RECIPES = 24303
"""Class with two uses. Key 0: those who make a schedule, one after the other. Key `hashtext` of a plan's signature:
who turns that plan into a recipe (migration 0009). A signature whose hash is 0 would share the schedules' lock; that
costs a recipe one later attempt, and nothing else."""

API_KEYS = 24304
"""Class of those who make or replace an API key; the key is `hashtext` of its name."""

MODELS = 24305
"""Class of those who set an alias of a model or delete versions; the key is `hashtext` of its name."""

RETRAININGS = 24306
"""Class of triages that begin to retrain a model; the key is 0."""
