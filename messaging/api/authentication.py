"""REST's authentication: the header `Authorization: Bearer`, the same verifier as the socket's (docs/protocol.md
§1)."""

from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from messaging.events import Actor
from messaging.services.sessions import session_admit, session_admit_async
from whispr.kernel.auth import Claims
from whispr.kernel.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class AuthenticatedUser:
    """`request.user` of REST: who asks, and what the token proved. No row of Django's users is behind it."""

    actor: Actor
    claims: Claims
    is_authenticated: bool = True
    is_anonymous: bool = False
    is_active: bool = True
    is_staff: bool = False

    @property
    def pk(self) -> str:
        """The user's id, for whatever of Django or DRF asks for a key."""
        return str(self.actor.user_id)


class BearerAuthentication(BaseAuthentication):
    """The header only: never the query, never a cookie, so that no other site can make a browser send it."""

    def authenticate(self, request: Request) -> tuple[AuthenticatedUser, Claims]:
        """Who asks. Raises Unauthenticated (401) without a valid token or with a revoked device."""
        user = AuthenticatedUser(*session_admit(bearer_token(request.META.get("HTTP_AUTHORIZATION"))))
        return user, user.claims

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401 (RFC 6750 §3)."""
        return 'Bearer realm="whispr"'


async def authenticate_async(authorization: str | None) -> AuthenticatedUser:
    """`BearerAuthentication` for an async view: `authorization` is the header's value, or None."""
    return AuthenticatedUser(*await session_admit_async(bearer_token(authorization)))


def bearer_token(authorization: str | None) -> str:
    """The token of an `Authorization` header. Raises Unauthenticated for none and for another scheme."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated()
    return token.strip(" ")
