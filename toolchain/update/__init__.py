"""Updates of a fleet: releases, deltas between them, who may sign them, and what a device does.

What runs on a device (`release`, `codec`, `delta.apply`, `trust.client`, `agent`) needs numpy,
cryptography, tuf, pcodec and zstandard alone.
"""
