"""The process of the embedded language model: llama.cpp's server, until it is ended. Started by the supervisor."""

import signal
import sys
from pathlib import Path

PARALLEL = 4
CACHE_MIB = 256
"""Memory for prompts that were read already."""


def main() -> int:
    """Serve one model: `KEY_FILE MODEL NAME CONTEXT_TOKENS THREADS PORT`."""
    from xllamacpp import CommonParams, Server

    key_file, model, name, context_tokens, threads, port = sys.argv[1:7]
    params = CommonParams()
    params.model.path = model
    params.model_alias = {name}
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.n_ctx = int(context_tokens)
    # Calls at once share the context.
    params.n_parallel, params.kv_unified = PARALLEL, True
    params.cache_ram_mib = CACHE_MIB
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.api_keys = [Path(key_file).read_text()]
    params.ui = False
    # It looks for nothing on the network.
    params.offline = True
    params.verbosity = 1
    params.endpoint_slots = False
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = Server(params)
    print(f"listens at {server.listening_address}", flush=True)  # noqa: T201 - its log
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
