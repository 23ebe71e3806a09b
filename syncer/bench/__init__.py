"""``syncer bench``: how close a run is to what the network, the parser and PostgreSQL allow.

``README.md`` beside this file says what each module is, and how fast it was.
"""
