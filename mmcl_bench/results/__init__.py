"""What a job leaves: records, their store, groups of seeds, provenance."""
