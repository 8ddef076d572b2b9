"""What every room uses: errors, names, whole files, paths, records, settings, seeds, devices, processes."""
