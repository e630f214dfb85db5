"""How weights are kept on disk and on the wire, whatever a kernel computes in."""
