"""The probes: a library with no scheduler, metrics, storage or alerts. It knows nothing of `monitor`."""
