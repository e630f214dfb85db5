"""What a plan costs in time: measured tables, estimates, and the model that prices plans."""
