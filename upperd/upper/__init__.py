"""The payload: bytes in, upper-cased bytes out, and plain `socketserver` handlers around it.

It imports no other package of upperd.
"""
