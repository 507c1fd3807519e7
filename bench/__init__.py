"""The load generator: workloads over the real protocol, against real servers (bench/README.md)."""
