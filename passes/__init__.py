"""Graph to graph: cleaning, fusion, and writing a plan into the graph."""
