"""`upperctl`: main.py is the front door; each command is a module with `add_arguments(parser)` and `run(arguments)`."""
