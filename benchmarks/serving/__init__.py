"""What ``benchmarks/serve.py`` measures with: callers, processes and their cost, the peers."""
