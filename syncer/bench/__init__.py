"""``syncer bench``: how close a run is to what the network, the parser and PostgreSQL allow.

``cloud`` is what is served, ``server`` serves it from a process of its own; ``child`` is one
measurement in a process of its own, ``stage`` sets them up, ``course`` is their order, ``goals``
says what they should come to and ``table`` shows it.
"""
