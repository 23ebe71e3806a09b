"""Files and folders: who can change what lies at a path, and how a file is read and written whole.

``ownership`` judges a path part by part; ``whole`` writes a file so that its readers see the old or
the new one, and no link of a stranger leads elsewhere.
"""

from syncer.files.whole import reached_file, read, replacing, try_replacing

__all__ = ["reached_file", "read", "replacing", "try_replacing"]
