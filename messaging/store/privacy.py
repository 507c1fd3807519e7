"""Whether a user tells that they read, as a condition in SQL: one wording for every query that asks (docs/protocol.md
§8.5).

The user's own setting, unless the conversation says that nobody tells; that it says otherwise overrides nobody's own.
Who does not tell does not learn: the same condition decides what a user is shown of others.
"""


def tells(member: str) -> str:
    """The condition of `member`, the user's row of members, `s`, the user's row of user_settings (LEFT JOIN: no row is
    the default), and `c`, the conversation. Settings that a block withholds are still the user's own choice."""
    return (
        f"(coalesce(s.read_receipts, true) AND coalesce({member}.withheld_settings, c.settings) -> 'readReceipts'"
        " IS DISTINCT FROM 'false'::jsonb)"
    )


TELLS = tells("b")
