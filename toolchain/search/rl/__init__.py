"""A learned policy for the search: what it sees, the episodes it plays, how it is trained."""
