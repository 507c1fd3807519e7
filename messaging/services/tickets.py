"""Socket tickets: for clients that can set neither a subprotocol nor a header (docs/protocol.md §2)."""

import hashlib
import ipaddress
import re
import secrets
import time
from uuid import UUID

import msgspec

from messaging.events import Actor
from messaging.store import tickets as store
from whispr.kernel.auth import Claims
from whispr.kernel.errors import Unauthenticated
from whispr.kernel.limits import LIMITS

# 256 bits: not to be guessed within any number of tries.
TICKET_BYTES = 32
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Ticket(msgspec.Struct, frozen=True, rename="camel"):
    """`POST socket-tickets`: `expires_in` is in seconds."""

    ticket: str
    expires_in: int


class _Bound(msgspec.Struct, frozen=True):
    """What a ticket stands for: the token's own claims, and where the client was."""

    user_id: UUID
    device_id: UUID
    expires_at: int
    issued_at: int
    jti: str
    network: str | None


async def ticket_create(actor: Actor, claims: Claims, client_address: str | None = None) -> Ticket:
    """A ticket for one socket of the actor's device, valid LIMITS.ticket_seconds and never longer than the token.

    With `client_address` (an IP address) it can be used from that network only. Raises TemporaryUnavailable without
    Redis, Unauthenticated where the token has just expired.
    """
    seconds = min(LIMITS.ticket_seconds, claims.expires_at - int(time.time()))
    if seconds < 1:
        raise Unauthenticated()
    ticket = secrets.token_urlsafe(TICKET_BYTES)
    bound = _Bound(
        actor.user_id, actor.device_id, claims.expires_at, claims.issued_at, claims.jti, _network(client_address)
    )
    await store.ticket_put(_digest(ticket), msgspec.json.encode(bound), seconds)
    return Ticket(ticket, seconds)


async def ticket_redeem(ticket: str, client_address: str | None = None) -> Claims:
    """The claims that `ticket` stands for; it is spent, whatever follows.

    Raises Unauthenticated for a ticket that is unknown, spent, over its time, or used from another network than it was
    made for; TemporaryUnavailable without Redis.
    """
    if _TICKET.fullmatch(ticket) is None:
        raise Unauthenticated()
    value = await store.ticket_take(_digest(ticket))
    if value is None:
        raise Unauthenticated()
    bound = msgspec.json.decode(value, type=_Bound)
    network = _network(client_address)
    if bound.network is not None and network is not None and bound.network != network:
        raise Unauthenticated()
    if bound.expires_at <= time.time():
        raise Unauthenticated()
    return Claims(bound.user_id, bound.device_id, bound.expires_at, bound.issued_at, bound.jti)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _network(client_address: str | None) -> str | None:
    """The address for IPv4; for IPv6 its /64, within which a device changes its address by itself (RFC 8981)."""
    if client_address is None:
        return None
    try:
        address = ipaddress.ip_address(client_address)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), 64), strict=False))
        address = address.ipv4_mapped
    return str(address)
