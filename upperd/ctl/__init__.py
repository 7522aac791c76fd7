"""`upperctl`: main.py is the entry point, parser.py the command line; every command is a module with a `run()`."""
