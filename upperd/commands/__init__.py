"""The commands of `upperctl`, a module each: `add_arguments(parser)`, and `run(arguments)`, giving its exit status.

ctl.py imports a module when its command is to run.
"""
