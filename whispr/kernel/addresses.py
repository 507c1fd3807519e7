"""`host:port` as settings name it, and whether only this machine answers there."""

import ipaddress
import re

ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):(?P<port>[0-9]{1,5})", re.ASCII)


def is_loopback(host: str) -> bool:
    """Whether only this machine answers to `host`. No other name counts: what it means is a resolver's matter."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
