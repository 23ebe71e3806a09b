"""What runs for long: the daemon, its health and metrics over HTTP or as a file, and traces."""
