"""Faults at every call, stale caches, storms, seeds and fuzz: a suite, and a tool (`python -m tests.faults --help`)."""
