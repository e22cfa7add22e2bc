"""What a service needs of its process, whatever it was started with: files, threads, the collector, no dumps."""

import gc
import resource
import sys

# A thread that gives the interpreter up at a disk write waits this long to get it back; the usual 5 ms are ten commits.
SWITCH_S = 0.0005
FILES = 16_384  # sockets and files at a time; the usual limit, 1,024, is less than one busy feed
# Objects made before the collector looks for cycles. The usual 700 are one message, or two reads; ours make hardly any
# cycles, and looking cost a sixth of a read.
COLLECT_AT = (20_000, 20, 50)


def tune() -> None:
    """For a process that serves sockets. Before it opens any."""
    sys.setswitchinterval(SWITCH_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of a process that crashed is keys and patients


def settle() -> None:
    """Once all that stays is loaded, schema and rows and routes: the collector leaves it alone from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
