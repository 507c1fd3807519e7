"""What counts as an emoji of a reaction: one user-perceived character (docs/protocol.md "Limits")."""

import unicodedata

import regex  # type: ignore[import-untyped]

from whispr.kernel.errors import BadRequest
from whispr.kernel.limits import LIMITS

# Unicode UAX #29: a grapheme cluster, so that a family, a flag or a skin tone is one. The standard library has none.
_GRAPHEME = regex.compile(r"\X")
# First characters that nobody sees: controls, format characters, separators, surrogates, unassigned ones.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"})


def check_emoji(text: str) -> str:
    """`text` as it is. Raises BadRequest where it is not one visible grapheme cluster of at most `LIMITS.emoji_bytes`
    in UTF-8."""
    # Size first: a cluster may be joined of any number of characters.
    if not text or len(text) > LIMITS.emoji_bytes or len(text.encode("utf-8", "surrogatepass")) > LIMITS.emoji_bytes:
        raise BadRequest(f"An emoji is one character of at most {LIMITS.emoji_bytes} bytes.")
    if _GRAPHEME.fullmatch(text) is None or unicodedata.category(text[0]) in _INVISIBLE:
        raise BadRequest("An emoji is one visible character.")
    return text
