"""The operator as a process, in real time, against a real API server behind a proxy that misbehaves."""
