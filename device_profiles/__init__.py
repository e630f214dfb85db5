"""One YAML a device; data only."""
