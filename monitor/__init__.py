"""The daemon: plans, runs, judges, remembers, tells and shows what the checks find."""
