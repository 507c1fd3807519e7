"""The admin's view of conversations, members, the log and devices: who, when and how large, never what.

A search takes an id. From a conversation one comes to its members and entries, from an entry to its delivery, from a
user to their conversations and devices.
"""

from messaging.admin import conversations, log, people

__all__ = ["conversations", "log", "people"]
