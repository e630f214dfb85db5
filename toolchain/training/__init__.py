"""Getting accuracy back with torch: training a graph, and writing its weights back by name."""
