"""Graph and device profile to engine to runner; one file a runtime."""
