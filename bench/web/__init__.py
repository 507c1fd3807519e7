"""The web client in Chromium against the real server, with logs that are as long as nobody types them."""
