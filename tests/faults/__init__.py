"""Breaking things for real: a network that fails on demand or at random, and a harness that kills runs."""
