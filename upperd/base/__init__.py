"""What the daemon and its clients share: paths, locks, atomic files, text for people.

It imports no other package of upperd.
"""
