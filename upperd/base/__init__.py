"""What the daemon and its clients both need: paths, locks, atomic files, text for people.

It imports nothing of ours.
"""
