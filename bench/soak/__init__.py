"""A soak: mixed load and every disturbance for a given time, and at the end a ledger in which every connection stands.

    make soak SECONDS=1200                                   # or, with more to choose from:
    PYTHONPATH=bench .venv/bin/python -m soak --help

    __main__.py    what happens when
    service.py     the service manager: holds the listener, starts the daemon as it is installed, again and again
    trouble.py     reloads, restarts, kills      settings.py   the files that are reloaded
    crowd.py       the processes of clients      kinds.py      what a client does      exchange.py   how it fared
    account.py     what one daemon says of itself when it has ended: its scoreboard, its log
    ledger.py      the sums, and what must be equal
    process.py     proc(5), and whose children are whose

As root the clients are of several users, so that every reason of a refusal occurs; else they are all of one.
"""
