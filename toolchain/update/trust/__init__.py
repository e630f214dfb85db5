"""Who may sign what: TUF repositories, keys, and the client that checks them."""
