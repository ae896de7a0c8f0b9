"""What the operator promises to people, each promise a test, in virtual time on the simulated world."""
