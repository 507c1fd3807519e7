"""A session begins: from a token or a ticket to an actor whose device is registered (docs/protocol.md §1, §2)."""

from messaging.events import Actor
from messaging.services.devices import device_admit_cached, device_admitted, device_register_seen
from messaging.services.tickets import ticket_redeem
from whispr.kernel.auth import Claims, verify_token


async def session_open(token: str) -> tuple[Actor, Claims]:
    """Who `token` is; the device is registered, or noted as seen.

    Raises Unauthenticated for a bad token, a revoked device, or one of another user; Forbidden at the devices' limit;
    what the database says when it is away.
    """
    claims = verify_token(token)
    return await device_register_seen(claims.user_id, claims.device_id), claims


async def session_open_with_ticket(ticket: str, client_address: str | None = None) -> tuple[Actor, Claims]:
    """Who `ticket` was made for, as `session_open()`; the ticket is spent. Raises also as `ticket_redeem()` does."""
    claims = await ticket_redeem(ticket, client_address)
    return await device_register_seen(claims.user_id, claims.device_id), claims


def session_admit(token: str) -> tuple[Actor, Claims]:
    """`session_open()` for REST: on a thread that may block, the device's row remembered for a few seconds."""
    claims = verify_token(token)
    return device_admit_cached(claims.user_id, claims.device_id), claims


async def session_admit_async(token: str) -> tuple[Actor, Claims]:
    """`session_admit()` for an event loop."""
    claims = verify_token(token)
    known = device_admitted(claims.user_id, claims.device_id)
    return known or await device_register_seen(claims.user_id, claims.device_id), claims
