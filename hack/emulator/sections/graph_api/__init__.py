"""Graph API: what holds for every node and edge."""
