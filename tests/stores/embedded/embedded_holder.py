"""A process that holds a lease on an embedded server until its standard input closes.

    python embedded_holder.py postgres|bolt DATA_DIR

Prints one JSON line: the URI, and the server's status.
"""

import json
import sys
from pathlib import Path

from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_bolt, embedded_postgres


def main() -> None:
    kind, data_dir = sys.argv[1:3]
    settings = load_settings(data_dir=Path(data_dir))
    server = (embedded_postgres if kind == "postgres" else embedded_bolt)(settings)
    uri = server.acquire()
    print(json.dumps({"uri": uri, **server.status()}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
