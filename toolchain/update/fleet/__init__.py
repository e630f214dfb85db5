"""Many devices: which update each gets, how a release is rolled out, and when it stops."""
