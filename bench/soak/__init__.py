"""A soak test: mixed load and every disturbance for a given time, then a ledger that accounts for every connection.

    make soak SECONDS=1200                                   # or, with more options:
    PYTHONPATH=bench .venv/bin/python -m soak --help

    __main__.py    the order of events
    service.py     the service manager: holds the listener, starts the daemon again and again
    trouble.py     reloads, restarts, kills      settings.py   the files that are reloaded
    crowd.py       the processes of clients      kinds.py      what a client does      exchange.py   its outcome
    account.py     the reports of daemons that have ended: scoreboards and logs
    ledger.py      the sums, and what must be equal
    process.py     children, states, memory and descriptors of processes, from proc(5)

As root, the clients are of several users, so that every reason for a refusal occurs; else they are all of one user.
"""
