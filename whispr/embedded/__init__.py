"""The local run: PostgreSQL, Valkey and the system's own processes under one supervisor.

Nothing of the application imports it, except `runfile`, through which `manage.py` finds the servers of a running
`script/server`.
"""
