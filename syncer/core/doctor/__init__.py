"""What ``syncer doctor`` makes of what it finds: thresholds and words, no I/O."""
