"""Keep a lock for a process that cannot hold it itself: `python -m seedcore.stores.lock_keeper LOCK_FD PID_FD`.

Started by `DataDirLock.leave_to`, never by hand. It imports little, because it stays for as long as SeedCore runs.
"""

import os
import select
import sys


def main() -> None:
    """Detach, wait until the process behind PID_FD has ended, empty the file of the lock, and end."""
    lock_fd, pid_fd = (int(argument) for argument in sys.argv[1:3])
    if os.fork():
        os._exit(0)
    select.select([pid_fd], [], [])
    os.ftruncate(lock_fd, 0)


if __name__ == "__main__":
    main()
