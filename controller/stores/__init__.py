"""Where snapshots, payloads and journals are kept."""
