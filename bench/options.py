"""What the command line decides, for all workloads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes in bytes, times in seconds. The defaults are those of the published figures."""

    pairs: int = 50
    window: int = 8
    seconds: float = 10.0
    warm_up: float = 2.0
    size: int = 300  # of a ciphertext
    rate: float = 500.0  # messages a second, of the open loop
    poisson: bool = True
    members: int = 100
    fan_out_window: int = 4
    ack_every: int = 1
    entries: int = 20_000
    conversations: int = 50
    devices: int = 3
    catch_up_ack: int = 64
    sockets: int = 1_000
    slow_seconds: float = 60.0
    slow_silent: bool = False
    clients: int = 32  # of pgbench
    paced: bool = False  # the baseline makes `rate` cycles a second
    lean: bool = False  # the baseline writes no send_keys, watermarks and cursors
    rounds: int = 3
