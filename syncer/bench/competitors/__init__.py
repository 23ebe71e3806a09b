"""What one would use instead of ``syncer``, written as its users would write it.

Each is a program of its own, measured as such, and shares nothing with the others or with syncer.
It reads where to read and where to write, as JSON, from its standard input.
"""
