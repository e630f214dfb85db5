"""One problem, many strategies: which precision each slot gets."""
