"""Reports for eyes: what restoring changed, as one HTML page."""
