"""syncer: a trustworthy inventory of Zenlayer Cloud images in PostgreSQL."""

__version__ = "0.1.0"
