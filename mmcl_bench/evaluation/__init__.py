"""Arrays in, numbers out: metrics, statistics, ranks."""
