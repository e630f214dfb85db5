"""How a block of bytes is told from an old one, exactly and in few bytes."""
