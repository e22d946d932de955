"""The vocabulary every check speaks: evidence, causes, results, traces, targets, time and secrets."""
