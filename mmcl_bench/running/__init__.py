"""Running jobs: jobs, suites, plans, the runner, what it records, fusion, scores from elsewhere, engines."""
