"""What a device does with an update: slots, journal, trial, commit or back."""
