"""Decisions: pure functions of (desired, observed, policy, now)."""
