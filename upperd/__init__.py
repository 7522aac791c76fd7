"""upperd: the forking Unix-socket daemon under systemd. Text in, upper case out."""

__version__ = "0.2.0"
