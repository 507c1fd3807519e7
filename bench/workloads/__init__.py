"""The workloads: each module has `async def run(target, options) -> Result`."""
