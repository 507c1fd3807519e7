"""Real servers of the services around the core, for development and tests: `manage.py run_services`.

They speak the contracts of `proto/` over real sockets, and have switches to be slow, wrong, or gone.
"""
