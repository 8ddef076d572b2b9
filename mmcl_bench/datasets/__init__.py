"""From published files to a store: readers, formats, preparing, auditing, writing, synthetic data, class texts."""
