"""Tests against running servers: real processes of both ASGI servers, real sockets, one database."""
