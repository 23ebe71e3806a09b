"""What one would use instead of ``syncer``, written as its users would write it.

Each is a program of its own, measured from start to exit, and imports nothing of the others or of
syncer. It reads ``measure.MeasureOptions`` as JSON from its standard input: the endpoint to read,
the database to write, the fields to store.
"""
