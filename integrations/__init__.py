"""The services around Whispr (users, media, notifications): one interface each, behind it gRPC or a local answer."""
