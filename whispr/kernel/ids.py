"""Identifiers: UUIDv7 for new rows, uuid5 for development names."""

import uuid

import uuid_utils.compat

# The namespace under which a development name becomes a user (docs/protocol.md §1). Never change it: names would move.
NAME_NAMESPACE = uuid.UUID("6f1b9c1e-7a53-5b1c-9d0e-3b6f5f2f8a11")


def new_id() -> uuid.UUID:
    """A UUIDv7: ordered by time, so that new rows land on the right edge of their index.

    PostgreSQL 15 has no uuidv7(), so the application makes them.
    """
    return uuid_utils.compat.uuid7()


def user_id_of(user: str) -> uuid.UUID:
    """The user that `user` means: a UUID as it is, any other name as its uuid5 (docs/protocol.md §1)."""
    try:
        return uuid.UUID(user)
    except ValueError:
        return uuid.uuid5(NAME_NAMESPACE, user)
