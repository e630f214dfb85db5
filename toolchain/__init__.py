"""What a compilation is made of: plan, tables, search, verification, bundle."""
