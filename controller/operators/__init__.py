"""The process: flags, logs, probes, lease, watches. Translates and wires; decides nothing about catalogs."""
