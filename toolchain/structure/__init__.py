"""Structure of a graph: channels that go together, and what may be left out."""
