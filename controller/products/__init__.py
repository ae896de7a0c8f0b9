"""The columnar core: frames in, frames out. Reading, mapping, checks, homes, comparison, departures, encoding, answers.

No I/O, no clock, no randomness. Only the child process imports it, because it brings the data stack along.
"""
