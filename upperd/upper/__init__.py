"""The upper-casing handler: a streaming upper-caser, and plain `socketserver` handlers around it.

It imports no other package of upperd.
"""
