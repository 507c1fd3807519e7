"""The system under faults: what it promised before, during and after is checked from what its clients saw.

`script/chaos` runs it, docs/reliability.md says what it does and what came of it.

    history.py   what the clients saw, a JSON line an operation and device
    checker/     reads a history and says, an invariant at a time, whether it was kept; needs nothing else
    system.py    PostgreSQL, Valkey, server processes, worker and beat of its own, on free ports
    proxy.py     the links between them, which can be slowed, cut and frozen
    client.py    a device as docs/protocol.md asks for one: outbox, cursors, resends
    workload.py  what people do
    faults/      what goes wrong, one module a family
    runner.py    one fault: begin, inject, heal, wait, look at everything, check
    mutants.py   the program with one guarantee broken: the checker must notice
"""
