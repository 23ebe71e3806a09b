"""One run of one account: list, read, judge, write, remove, report."""
