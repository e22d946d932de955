"""The demo: mailcanary watches an embedded Microsoft 365 that is broken by a script, and has to find everything."""
