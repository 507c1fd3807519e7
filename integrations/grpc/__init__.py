"""The services around the core, called over gRPC (`proto/`): an adapter each behind the core's own interface."""
