"""`upperctl`: main.py is the entry point; each command is a module with `add_arguments(parser)` and `run(arguments)`."""
